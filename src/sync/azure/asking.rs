//! One question to Azure Resource Manager: with a token, counted, asked again while that helps.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::Azure;
use super::error::{AzureError, repeated};
use super::http::{self, Patience};
use super::settings::host_of;

/// Pages of one listing: 64,000 endpoints at 100 a page, and room.
pub(super) const PAGES_MAX: usize = 1000;

/// Bytes of one page, unpacked: 1000 interfaces are about 4 MB.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes of one text in a page: names and ids have a few hundred, tags and descriptions some thousand.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;

/// Reads left of a subscription's 250, and the pause after each answer that tells of fewer: 25 a second come back
/// (facts §4), of which two listings side by side then take ten, and at last two.
const PAUSES: [(u32, Duration); 2] = [(10, Duration::from_secs(1)), (50, Duration::from_millis(200))];

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

/// What is asked; the query of Resource Graph is the one question that is not a GET.
pub(super) enum Question<'q> {
    Get(&'q Url),
    Post(&'q Url, String),
}

/// What was answered.
pub(super) struct Answered {
    pub body: Vec<u8>,
    pub headers: HeaderMap,
}

/// The pages of one listing, one after the other.
pub(super) struct Pages {
    next: Option<Url>,
    asked: HashSet<Url>,
}

impl Azure {
    pub(super) fn url(&self, path: &str, api_version: &str) -> Url {
        let mut url = self.settings.endpoint.at(path);
        url.query_pairs_mut().append_pair("api-version", api_version);
        url
    }

    /// The next page of a listing, if there is one.
    pub(super) async fn next_page(
        &self,
        pages: &mut Pages,
        patience: Patience,
    ) -> Result<Option<Vec<u8>>, AzureError> {
        let Some(url) = pages.next.take() else { return Ok(None) };
        pages.asked.insert(url.clone());
        let answered = self.ask(Question::Get(&url), patience).await?;
        if let Some(pause) = pause(&answered.headers) {
            tokio::time::sleep(pause).await;
        }
        Ok(Some(answered.body))
    }

    /// Asks, and asks again what passes by itself.
    pub(super) async fn ask(
        &self,
        question: Question<'_>,
        mut patience: Patience,
    ) -> Result<Answered, AzureError> {
        let endpoint = &self.settings.endpoint;
        let mut renewed = false;
        loop {
            let token = self.token().await?;
            let Some(authorization) = token.authorization() else {
                return Err(AzureError::TokenBody { host: endpoint.host() });
            };
            let client = self.http.outside();
            let request = match &question {
                Question::Get(url) => client.get((*url).clone()),
                Question::Post(url, body) => {
                    client.post((*url).clone()).header(CONTENT_TYPE, "application/json").body(body.clone())
                }
            };
            self.requests.fetch_add(1, Ordering::Relaxed);
            let response = match request.header(AUTHORIZATION, authorization).send().await {
                Ok(response) => response,
                Err(error) if !patience.wait(None).await => return Err(http::unreachable(endpoint, error)),
                Err(_) => continue,
            };
            let (status, headers) = (response.status(), response.headers().clone());
            if status == StatusCode::OK {
                match http::body(response, PAGE_BYTES_MAX).await {
                    // The connection was cut.
                    Err(AzureError::Unreachable { .. }) if patience.wait(None).await => continue,
                    body => return body.map(|body| Answered { body, headers }),
                }
            }
            let (code, message) = refusal(response, token.reveal()).await;
            if status == StatusCode::UNAUTHORIZED && !renewed {
                // It may have ended, or rights may have been given since.
                self.tokens.forget(&token).await;
                renewed = true;
                continue;
            }
            let passes = matches!(status.as_u16(), 408 | 429) || status.is_server_error();
            let wait =
                http::retry_after(&headers, SystemTime::now()).or_else(|| quota_resets_after(&headers));
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

    /// Pages asked for so far.
    pub(super) fn number(&self) -> usize {
        self.asked.len()
    }

    /// Goes on to where a page leads, if that is a page of this Azure that was not asked yet.
    pub(super) fn follow(&mut self, link: Option<String>, azure: &Azure) -> Result<(), AzureError> {
        let page = self.number();
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

/// How long to pause when few reads are left.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let left = headers.get("x-ms-ratelimit-remaining-subscription-reads")?;
    let left: u32 = left.to_str().ok()?.parse().ok()?;
    PAUSES.iter().find(|(low, _)| left < *low).map(|(_, pause)| *pause)
}

/// How long Resource Graph wants to be left alone: `hh:mm:ss`, when no question is left.
pub(super) fn quota_resets_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let left: u32 = text("x-ms-user-quota-remaining")?.parse().ok()?;
    let mut secs = 0;
    for part in text("x-ms-user-quota-resets-after")?.split(':') {
        secs = secs * 60 + part.parse::<u32>().ok()?.min(59);
    }
    (left == 0).then(|| Duration::from_secs(secs.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_fewer_reads_are_left_the_longer_is_the_pause() {
        let name = "x-ms-ratelimit-remaining-subscription-reads";
        let of = |left| pause(&headers(&[(name, left)])).map(|pause| pause.as_millis());
        assert_eq!(
            ["249", "50", "49", "10", "9", "0", "many"].map(of),
            [None, None, Some(200), Some(200), Some(1000), Some(1000), None]
        );
        assert_eq!(pause(&headers(&[])), None);
    }

    #[test]
    fn the_quota_of_resource_graph_is_told_in_hours_minutes_and_seconds() {
        let of = |left, after| {
            let lines = [("x-ms-user-quota-remaining", left), ("x-ms-user-quota-resets-after", after)];
            quota_resets_after(&headers(&lines)).map(|wait| wait.as_secs())
        };
        assert_eq!(of("0", "00:00:03"), Some(3));
        assert_eq!(of("0", "01:02:03"), Some(3723));
        assert_eq!(of("1", "00:00:03"), None);
        assert_eq!(of("0", "soon"), None);
    }
}
