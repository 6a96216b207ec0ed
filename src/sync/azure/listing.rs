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
use super::super::listing::Listings;
use super::error::{AzureError, repeated};
use super::http::{self, Patience};
use super::settings::{Subject, host_of};
use super::{Azure, Listed};

/// Of the list of subscriptions.
pub(super) const SUBSCRIPTIONS_API_VERSION: &str = "2022-12-01";

/// Pages of one listing: 64,000 endpoints at 100 a page, and room.
const PAGES_MAX: usize = 1000;

/// Bytes of one page, unpacked: 1000 interfaces are about 4 MB.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes of one text in a page: names and ids have a few hundred, tags and descriptions some thousand.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;

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
pub(super) struct Pages {
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

    /// What the source is about, of one subscription.
    pub(super) async fn subscription(self: &Arc<Self>, id: &Arc<str>) -> Result<Listed, AzureError> {
        self.check_rest(id)?;
        self.resting.lock().remove(id);
        let listed = match self.settings.subject {
            Subject::Endpoints => {
                let listed = tokio::time::timeout(SUBSCRIPTION_TIMEOUT, self.listings(id)).await;
                let inventory = listed.unwrap_or(Err(AzureError::Slow { max: SUBSCRIPTION_TIMEOUT }));
                inventory.map(|inventory| Listed { inventory, ..Listed::default() })
            }
            // There each zone has its own time.
            Subject::PrivateZones => self.private_zones(id).await,
        };
        if let Err(AzureError::Throttled { wait, .. }) = &listed {
            self.rest(id, *wait);
        }
        listed
    }

    /// Whether a subscription may be asked already.
    pub(super) fn check_rest(&self, id: &Arc<str>) -> Result<(), AzureError> {
        let rests_until = self.resting.lock().get(id).copied();
        match rests_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(wait) => Err(AzureError::Throttled { status: 429, code: "still".to_owned(), wait }),
            None => Ok(()),
        }
    }

    /// Leaves a subscription alone for as long as it wants.
    pub(super) fn rest(&self, id: &Arc<str>, wait: Duration) {
        self.resting.lock().insert(Arc::clone(id), Instant::now() + wait.min(REST_MAX));
    }

    async fn listings(&self, subscription: &str) -> Result<Inventory, AzureError> {
        let (endpoints, interfaces) = tokio::try_join!(
            self.listing(subscription, "privateEndpoints"),
            self.listing(subscription, "networkInterfaces"),
        )?;
        let mut listings = Listings::default();
        for (number, body) in (1..).zip(endpoints.into_iter().chain(interfaces)) {
            listings.add(format!("page {number}"), body);
        }
        let inventory =
            listings.into_inventory().expect("no page is owed: links are taken out when they are followed");
        let of_other = inventory.endpoints().iter().find(|endpoint| *endpoint.subscription != *subscription);
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
    async fn listing(&self, subscription: &str, resource_type: &str) -> Result<Vec<Body>, AzureError> {
        let path = format!("/subscriptions/{subscription}/providers/Microsoft.Network/{resource_type}");
        let mut pages = Pages::of(self.url(&path, &self.settings.api_version));
        let mut bodies = Vec::new();
        while let Some(bytes) = self.next_page(&mut pages).await? {
            let page = pages.asked.len();
            if has_long_text(&bytes) {
                return Err(AzureError::LongText { page, max: TEXT_BYTES_MAX });
            }
            let mut body = Body::read(&bytes).map_err(|source| AzureError::Page { page, source })?;
            // A page that is a single resource is none.
            let [listed] = body.pages.as_mut_slice() else {
                return Err(AzureError::Page { page, source: ArmError::Unrecognised });
            };
            pages.follow(listed.next_link.take(), self)?;
            let is_endpoint = |it: &&Resource| matches!(it, Resource::PrivateEndpoint(_));
            self.progress.page(body.resources.iter().filter(is_endpoint).count());
            bodies.push(body);
        }
        Ok(bodies)
    }

    pub(super) fn url(&self, path: &str, api_version: &str) -> Url {
        let mut url = self.settings.endpoint.at(path);
        url.query_pairs_mut().append_pair("api-version", api_version);
        url
    }

    pub(super) async fn next_page(&self, pages: &mut Pages) -> Result<Option<Vec<u8>>, AzureError> {
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
    pub(super) fn of(first: Url) -> Pages {
        Pages { next: Some(first), asked: HashSet::new() }
    }

    /// Whether there is one to be asked.
    pub(super) fn goes_on(&self) -> bool {
        self.next.is_some()
    }

    /// How many were asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Goes on to where a page leads, if that is a page of this Azure that was not asked yet.
    pub(super) fn follow(&mut self, link: Option<String>, azure: &Azure) -> Result<(), AzureError> {
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
    let bytes = http::body(response, TEXT_BYTES_MAX).await.unwrap_or_default();
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(Refusal { error }) => (repeated(&error.code, &[token]), repeated(&error.message, &[token])),
        Err(_) => (reason.to_owned(), "the answer is not Azure Resource Manager's".to_owned()),
    }
}

/// Whether a text in JSON is longer than any of ARM's.
pub(super) fn has_long_text(json: &[u8]) -> bool {
    let mut rest = json;
    // Between two quotes lies a text, or what separates texts, which is shorter.
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        if quote > TEXT_BYTES_MAX {
            return true;
        }
        rest = &rest[quote + 1..];
    }
    false
}
