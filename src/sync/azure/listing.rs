//! Listings of Azure Resource Manager: all pages or nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::super::arm::{ArmError, Body, Resource};
use super::super::inventory::{Inventory, Warning};
use super::Azure;
use super::error::{AzureError, repeated};
use super::http::{self, Patience};
use super::settings::host_of;

/// Of the list of subscriptions.
pub(super) const SUBSCRIPTIONS_API_VERSION: &str = "2022-12-01";

/// Pages of one listing: 64,000 endpoints at 100 a page, and room.
const PAGES_MAX: usize = 1000;

/// Bytes of one page, unpacked: 1000 interfaces are about 4 MB.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes of an answer that says why there is none.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Time for one subscription: 64 pages twice, and a wait or two.
const SUBSCRIPTION_TIMEOUT: Duration = Duration::from_secs(600);

/// Reads left of a subscription's 250 below which the pace is slower than the 25 a second that come back (facts §4).
const READS_LEFT_LOW: u32 = 50;
const SLOW_PACE: Duration = Duration::from_millis(200);

/// The longest that a subscription is left alone because it said so.
const REST_MAX: Duration = Duration::from_secs(3600);

/// `GET /subscriptions`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscriptions {
    value: Vec<Subscription>,
    next_link: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    subscription_id: String,
}

/// ARM's error, of which the innermost code says most.
#[derive(Deserialize)]
struct Refusal {
    error: Cause,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The pages of one listing, one after the other.
struct Pages {
    next: Option<Url>,
    asked: HashSet<Url>,
}

impl Azure {
    /// All subscriptions that the identity sees, in lower case.
    pub(super) async fn visible_subscriptions(&self) -> Result<Vec<Arc<str>>, AzureError> {
        let mut pages = Pages::of(self.url("/subscriptions", SUBSCRIPTIONS_API_VERSION));
        let mut ids = Vec::new();
        while let Some(bytes) = self.next_page(&mut pages).await? {
            let page: Subscriptions = serde_json::from_slice(&bytes).map_err(|error| {
                let source = ArmError::Syntax {
                    line: error.line(),
                    column: error.column(),
                    message: error.to_string(),
                };
                AzureError::Page { page: pages.asked.len(), source }
            })?;
            ids.extend(page.value.iter().map(|it| Arc::from(it.subscription_id.to_ascii_lowercase())));
            pages.follow(page.next_link, self)?;
        }
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Err(AzureError::NoSubscription);
        }
        Ok(ids)
    }

    /// The private endpoints of one subscription.
    pub(super) async fn subscription(&self, id: &Arc<str>) -> Result<Arc<Inventory>, AzureError> {
        let rests_until = self.resting.lock().get(id).copied();
        if let Some(wait) = rests_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            return Err(AzureError::Throttled { status: 429, code: "still".to_owned(), wait });
        }
        let listed = tokio::time::timeout(SUBSCRIPTION_TIMEOUT, self.listings(id)).await;
        let listed = listed.unwrap_or(Err(AzureError::Slow { max: SUBSCRIPTION_TIMEOUT }));
        match &listed {
            Err(AzureError::Throttled { wait, .. }) => {
                self.resting.lock().insert(Arc::clone(id), Instant::now() + (*wait).min(REST_MAX));
            }
            _ => drop(self.resting.lock().remove(id)),
        }
        listed
    }

    async fn listings(&self, subscription: &Arc<str>) -> Result<Arc<Inventory>, AzureError> {
        let (mut bodies, interfaces) = tokio::try_join!(
            self.listing(subscription, "privateEndpoints"),
            self.listing(subscription, "networkInterfaces"),
        )?;
        bodies.extend(interfaces);
        let inventory = self.memory.inventory(subscription, bodies).await?;
        let of_other = inventory.endpoints().iter().find(|endpoint| endpoint.subscription != *subscription);
        if let Some(endpoint) = of_other {
            return Err(AzureError::Stranger { id: endpoint.id.to_string() });
        }
        let twice = inventory.warnings().iter().find_map(|warning| match warning {
            Warning::Duplicate { id, .. } => Some(id.to_string()),
            _ => None,
        });
        twice.map_or(Ok(inventory), |id| Err(AzureError::Duplicate { id }))
    }

    /// All pages of one type.
    async fn listing(&self, subscription: &str, resource_type: &str) -> Result<Vec<Arc<Body>>, AzureError> {
        let path = format!("/subscriptions/{subscription}/providers/Microsoft.Network/{resource_type}");
        let mut pages = Pages::of(self.url(&path, &self.settings.api_version));
        let known = self.memory.pages(&path);
        let mut seen = Vec::new();
        while let Some(bytes) = self.next_page(&mut pages).await? {
            let page = self.memory.read(&known, bytes, pages.asked.len()).await?;
            pages.follow(page.next_link.clone(), self)?;
            let is_endpoint = |it: &&Resource| matches!(it, Resource::PrivateEndpoint(_));
            self.progress.page(page.body.resources.iter().filter(is_endpoint).count());
            seen.push(page);
        }
        let bodies = seen.iter().map(|page| Arc::clone(&page.body)).collect();
        self.memory.keep(&path, seen);
        Ok(bodies)
    }

    pub(super) fn url(&self, path: &str, api_version: &str) -> Url {
        let mut url = self.settings.endpoint.at(path);
        url.query_pairs_mut().append_pair("api-version", api_version);
        url
    }

    async fn next_page(&self, pages: &mut Pages) -> Result<Option<Vec<u8>>, AzureError> {
        let Some(url) = pages.next.take() else { return Ok(None) };
        pages.asked.insert(url.clone());
        self.read(&url).await.map(Some)
    }

    /// One page; what passes by itself is asked again.
    pub(super) async fn read(&self, url: &Url) -> Result<Vec<u8>, AzureError> {
        let endpoint = &self.settings.endpoint;
        let mut patience = Patience::new(&self.settings);
        let mut renewed = false;
        loop {
            let token = self.token().await?;
            let Some(authorization) = token.authorization() else {
                return Err(AzureError::TokenBody { host: host_of(url) });
            };
            let request = self.http.outside().get(url.clone()).header(AUTHORIZATION, authorization);
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) if !patience.wait(None).await => return Err(http::unreachable(endpoint, error)),
                Err(_) => continue,
            };
            let (status, headers) = (response.status(), response.headers().clone());
            if status == StatusCode::OK {
                match http::body(response, PAGE_BYTES_MAX).await {
                    // The connection was cut.
                    Err(AzureError::Unreachable { .. }) if patience.wait(None).await => continue,
                    bytes => {
                        slow_down(&headers).await;
                        return bytes;
                    }
                }
            }
            let (code, message) = refusal(response, token.reveal()).await;
            if status == StatusCode::UNAUTHORIZED && !renewed {
                // It may have ended, or rights may have been given since.
                self.tokens.forget(&token).await;
                renewed = true;
                continue;
            }
            let wait = http::retry_after(&headers, SystemTime::now());
            let passes = matches!(status.as_u16(), 408 | 429) || status.is_server_error();
            if passes && patience.wait(wait).await {
                continue;
            }
            let status = status.as_u16();
            return Err(match wait.filter(|_| passes) {
                Some(wait) => AzureError::Throttled { status, code, wait },
                None => AzureError::Refused { status, code, message },
            });
        }
    }
}

impl Pages {
    fn of(first: Url) -> Pages {
        Pages { next: Some(first), asked: HashSet::new() }
    }

    /// Goes on to where a page leads, if that is a page of this Azure that was not asked yet.
    fn follow(&mut self, link: Option<String>, azure: &Azure) -> Result<(), AzureError> {
        let page = self.asked.len();
        let Some(link) = link.filter(|link| !link.is_empty()) else { return Ok(()) };
        let url = Url::parse(&link).ok().filter(|url| azure.settings.endpoint.is_of(url));
        // The token would go with the question.
        let url = url.ok_or_else(|| AzureError::ForeignLink {
            host: Url::parse(&link).map_or_else(|_| "no URL".to_owned(), |url| host_of(&url)),
        })?;
        if self.asked.contains(&url) {
            return Err(AzureError::RepeatedLink { page });
        }
        if page >= PAGES_MAX {
            return Err(AzureError::ManyPages { max: PAGES_MAX });
        }
        self.next = Some(url);
        Ok(())
    }
}

/// Waits a little when few reads are left.
async fn slow_down(headers: &HeaderMap) {
    let left = headers.get("x-ms-ratelimit-remaining-subscription-reads");
    let left: Option<u32> = left.and_then(|left| left.to_str().ok()?.parse().ok());
    if left.is_some_and(|left| left < READS_LEFT_LOW) {
        tokio::time::sleep(SLOW_PACE).await;
    }
}

/// ARM's code and message, whatever else the body is.
async fn refusal(response: reqwest::Response, token: &str) -> (String, String) {
    let reason = response.status().canonical_reason().unwrap_or_default();
    let bytes = http::body(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(Refusal { error }) => (repeated(&error.code, &[token]), repeated(&error.message, &[token])),
        Err(_) => (reason.to_owned(), "the answer is not Azure Resource Manager's".to_owned()),
    }
}
