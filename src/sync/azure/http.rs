//! HTTP to Azure: clients that follow nothing, answers with a bound, and patience with an end.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::dns::Resolve;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};

use super::error::AzureError;
use super::settings::{Endpoint, Settings, host_of};

/// Time for a connection, as long as a far region takes twice.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a whole answer: Azure Resource Manager gives up after sixty seconds itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);

/// Tries of one request, the first included: those that the metadata service's documentation names.
const TRIES: u32 = 5;

/// All waiting for one request: what asks for more is left to the next pass.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Room made ahead for an answer that says how long it is: a page of 1000 resources is rarely longer.
const LENGTH_BELIEVED_MAX: u64 = 4 << 20;

/// The longest single wait of a listing: a pass publishes when all have ended, and none may keep the others waiting.
const LISTING_WAIT_MAX: Duration = Duration::from_secs(2);

/// The clients for the outside and for this host.
pub(super) struct Http {
    outside: Client,
    /// Never through a proxy: tokens of this host are this host's affair.
    host: Client,
}

impl Http {
    pub(super) fn new(settings: &Settings, resolver: Option<Arc<dyn Resolve>>) -> Result<Http, AzureError> {
        let builder = || {
            let builder = Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(ANSWER_TIMEOUT)
                // A token goes where it is sent and nowhere else.
                .redirect(redirect::Policy::none())
                .user_agent(concat!("privatelink-dns/", env!("CARGO_PKG_VERSION")));
            match &resolver {
                Some(resolver) => builder.dns_resolver(Arc::clone(resolver)),
                None => builder,
            }
        };
        let setup = |error: reqwest::Error| AzureError::Setup(why(error));
        let host = builder().no_proxy().build().map_err(setup)?;
        let is_here = settings.endpoint.is_loopback() && settings.authority.is_loopback();
        let outside = if is_here { host.clone() } else { builder().build().map_err(setup)? };
        Ok(Http { outside, host })
    }

    pub(super) fn outside(&self) -> &Client {
        &self.outside
    }

    pub(super) fn host(&self) -> &Client {
        &self.host
    }
}

/// The waits between the tries of one request.
pub(super) struct Patience {
    tries_left: u32,
    next: Duration,
    left: Duration,
    longest: Duration,
}

impl Patience {
    /// For what all else depends on.
    pub(super) fn new(settings: &Settings) -> Patience {
        Patience { tries_left: TRIES - 1, next: settings.retry, left: WAIT_MAX, longest: WAIT_MAX }
    }

    /// For one listing among many.
    pub(super) fn of_listing(settings: &Settings) -> Patience {
        Patience { next: settings.retry / 4, longest: LISTING_WAIT_MAX, ..Patience::new(settings) }
    }

    /// Waits as long as was asked for, else longer each time; `false` when it is not worth it.
    pub(super) async fn wait(&mut self, asked: Option<Duration>) -> bool {
        let wait = asked.unwrap_or(self.next).max(self.next.min(Duration::from_millis(100)));
        if self.tries_left == 0 || wait > self.left.min(self.longest) {
            return false;
        }
        tokio::time::sleep(wait).await;
        self.tries_left -= 1;
        self.left -= wait;
        self.next *= 2;
        true
    }
}

/// Sends a request; what passes by itself is tried again.
pub(super) async fn send(
    request: impl Fn() -> RequestBuilder,
    endpoint: &Endpoint,
    patience: &mut Patience,
    passes: fn(StatusCode) -> bool,
) -> Result<Response, AzureError> {
    loop {
        match request().send().await {
            Ok(response) => {
                let asked = retry_after(response.headers(), SystemTime::now());
                if !passes(response.status()) || !patience.wait(asked).await {
                    return Ok(response);
                }
            }
            Err(error) if !patience.wait(None).await => return Err(unreachable(endpoint, error)),
            Err(_) => {}
        }
    }
}

pub(super) fn unreachable(endpoint: &Endpoint, error: reqwest::Error) -> AzureError {
    AzureError::Unreachable { host: endpoint.host(), why: why(error) }
}

/// The whole body, unpacked, if it is not larger than `max`.
pub(super) async fn body(mut response: Response, max: usize) -> Result<Vec<u8>, AzureError> {
    let host = host_of(response.url());
    // What it says of its length is no more than a hint.
    let length = response.content_length().unwrap_or_default().min(LENGTH_BELIEVED_MAX);
    let mut bytes = Vec::with_capacity((length as usize).min(max));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > max => return Err(AzureError::LargePage { max }),
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err(AzureError::Unreachable { host, why: why(error) }),
        }
    }
}

/// How long Azure wants to be left alone: seconds, or a date by its own clock (RFC 9110 §10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse() {
        return Some(Duration::from_secs(secs));
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let now = headers.get(DATE).and_then(|it| date(it.to_str().ok()?)).unwrap_or(now);
    Some(date(text)?.duration_since(now).unwrap_or_default())
}

/// What went wrong and why, without the URL.
fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&'static str, &'static str)], now_secs: u64) -> Option<Duration> {
        let header = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), reqwest::header::HeaderValue::from_static(value))
        };
        retry_after(
            &lines.iter().map(header).collect(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(now_secs),
        )
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_azures_clock() {
        let date = ("retry-after", "Fri, 21 Aug 2026 09:00:30 GMT");
        assert_eq!(asked(&[("retry-after", "10")], 0), Some(Duration::from_secs(10)));
        assert_eq!(asked(&[date], 1_787_302_800), Some(Duration::from_secs(30)));
        let of_azure = ("date", "Fri, 21 Aug 2026 09:00:10 GMT");
        assert_eq!(asked(&[date, of_azure], 0), Some(Duration::from_secs(20)));
        assert_eq!(asked(&[date], 1_800_000_000), Some(Duration::ZERO));
        assert_eq!(asked(&[("retry-after", "soon")], 0), None);
        assert_eq!(asked(&[], 0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_those_of_the_metadata_service_and_long_waits_are_for_the_next_pass() {
        let hosts = crate::sync::azure::Hosts::of_cloud(crate::privatelink::Cloud::Public)
            .expect("its hosts are known");
        let settings = Settings::of_hosts(hosts);
        let (mut patience, began) = (Patience::new(&settings), tokio::time::Instant::now());
        let mut tries = Vec::new();
        while patience.wait(None).await {
            tries.push(began.elapsed().as_secs());
        }
        assert_eq!(tries, [2, 6, 14, 30]);
        assert!(!Patience::new(&settings).wait(Some(Duration::from_secs(31))).await);
        let (mut patience, began) = (Patience::of_listing(&settings), tokio::time::Instant::now());
        while patience.wait(None).await {}
        assert_eq!(began.elapsed(), Duration::from_millis(3500));
        assert!(Patience::of_listing(&settings).wait(Some(Duration::from_secs(2))).await);
        assert!(!Patience::of_listing(&settings).wait(Some(Duration::from_secs(3))).await);
    }
}
