//! What lies around every route: ids, bounds, panics, problems and headers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http_body::Body as _;
use http_body_util::Limited;
use tokio::time::Instant;
use tracing::{debug, error};

use super::body::too_large;
use super::budget::{Budget, Share};
use super::counters::Counters;
use super::host::Hosts;
use super::problem::{Kind, PROBLEM_JSON, Problem};
use super::settings::Limits;

/// Routes whose bodies carry many records.
const LARGE: [&str; 2] = ["/api/v1/changes", "/api/v1/zones/{zone}/import"];

/// The longest request id that is taken from a client.
const ID_CHARS_MAX: usize = 128;

/// The longest text of axum's own that becomes a detail.
const TEXT_BYTES_MAX: usize = 4096;

/// When to come again after an answer took too long.
const RETRY_SECS: u64 = 5;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the shell needs.
pub(super) struct Shell {
    pub(super) limits: ArcSwap<Limits>,
    pub(super) hosts: ArcSwap<Hosts>,
    pub(super) counters: Arc<Counters>,
    pub(super) budget: Arc<Budget>,
}

impl Shell {
    pub(super) fn new(limits: &Limits, hosts: Hosts, counters: Arc<Counters>) -> Shell {
        Shell {
            limits: ArcSwap::from_pointee(limits.clone()),
            hosts: ArcSwap::from_pointee(hosts),
            counters,
            budget: Arc::default(),
        }
    }
}

/// The id under which log and audit speak of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

/// The bounds of one request's body.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) body_bytes: usize,
    pub(super) body_time: Duration,
    /// The memory that it takes of what all bodies have.
    pub(super) memory: Arc<Share>,
}

impl Bounds {
    fn of(limits: &Limits, budget: &Arc<Budget>, is_large: bool) -> Bounds {
        let body_bytes = if is_large { limits.large_body_bytes } else { limits.body_bytes };
        let memory = Arc::new(budget.share(limits.bodies_bytes));
        Bounds { body_bytes: body_bytes.min(limits.bodies_bytes), body_time: limits.body, memory }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::of(&Limits::default(), &Arc::default(), false)
    }
}

impl RequestId {
    /// The client's own if it is sane, else a new one.
    fn of(headers: &HeaderMap) -> RequestId {
        let sent = headers.get(&REQUEST_ID).and_then(|it| it.to_str().ok()).filter(|it| {
            let is_sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=ID_CHARS_MAX).contains(&it.len()) && it.bytes().all(is_sane)
        });
        RequestId(match sent {
            Some(sent) => sent.into(),
            None => HEXLOWER.encode(&rand::random::<[u8; 16]>()).into(),
        })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Carries a request to its route and an answer back.
pub(super) async fn shell(State(shell): State<Arc<Shell>>, mut request: Request, next: Next) -> Response {
    let (id, start) = (RequestId::of(request.headers()), Instant::now());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(id.clone());
    let limits = shell.limits.load_full();
    let admitted = shell.hosts.load().check(&request).and_then(|()| admit(request, &limits, &shell.budget));
    let response = match admitted {
        Ok(request) => run(request, next, limits.request).await,
        Err(problem) => problem.into_response(),
    };
    let mut response = with_newline(with_problem(response, &id).await).await;
    add_headers(response.headers_mut(), &path, &id);
    let took = start.elapsed();
    shell.counters.count_request(&method, response.status(), took);
    debug!(request_id = %id, %method, path, status = response.status().as_u16(), ?took, "Answered");
    response
}

/// Refuses what needs no handler to be refused, and puts a bound to the body.
fn admit(mut request: Request, limits: &Limits, budget: &Arc<Budget>) -> Result<Request, Problem> {
    if !request.method().is_safe() && is_cross_site(request.headers(), request.uri()) {
        return Err(Problem::new(
            Kind::CrossSite,
            "call the API from a program, or from a page of this server",
        ));
    }
    let route = request.extensions().get::<MatchedPath>();
    let is_large = route.is_some_and(|route| LARGE.contains(&route.as_str()));
    let bounds = Bounds::of(limits, budget, is_large);
    let body_bytes = bounds.body_bytes;
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > body_bytes as u64) {
        return Err(too_large(body_bytes));
    }
    request.extensions_mut().insert(bounds);
    Ok(request.map(|body| Body::new(Limited::new(body, body_bytes))))
}

/// Whether a browser sends this for a page of another site.
// A client certificate goes along by itself, so without this check each web page could use it.
fn is_cross_site(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get(&FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = headers.get(HOST).and_then(|it| it.to_str().ok());
    // HTTP/2 has the host in the URI.
    let host = host.or_else(|| uri.authority().map(|it| it.as_str()));
    let origin = origin.to_str().ok().and_then(|it| Some(it.split_once("://")?.1));
    origin.is_none() || host.is_none() || origin != host
}

/// Runs the route within its time; a panic ends the request and nothing else.
async fn run(request: Request, next: Next, time: Duration) -> Response {
    let mut route = Box::pin(next.run(request));
    // A panic leaves nothing behind that a later request sees: state is shared by whole values only.
    let caught = std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| route.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    });
    match tokio::time::timeout(time, caught).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let what = panic.downcast_ref::<&str>().copied();
            let what = what.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            error!(panic = what.unwrap_or("of another type"), "A handler panicked");
            Problem::new(Kind::Internal, "the log tells more under this request id").into_response()
        }
        Err(_) => {
            let detail =
                "the answer took too long; a write may be done nevertheless, look before sending it again";
            Problem::new(Kind::Timeout, detail).retry_after_secs(RETRY_SECS).into_response()
        }
    }
}

/// Makes a problem of every error, also of those that axum answered itself.
async fn with_problem(mut response: Response, id: &RequestId) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(&response) => {
            let allow = response.headers_mut().remove(ALLOW);
            let (parts, body) = response.into_parts();
            let text = to_bytes(body, TEXT_BYTES_MAX).await.unwrap_or_default();
            if parts.status.is_server_error() {
                error!(request_id = %id, text = %String::from_utf8_lossy(&text), "A request failed");
            }
            let problem = Problem::of_status(parts.status, str::from_utf8(&text).unwrap_or_default());
            let mut response = problem.render(Some(&id.0));
            *response.status_mut() = parts.status;
            if let Some(allow) = allow {
                response.headers_mut().insert(ALLOW, allow);
            }
            return response;
        }
        None => return response,
    };
    let rendered = problem.render(Some(&id.0));
    let (mut parts, body) = rendered.into_parts();
    // Headers that a handler added, as ETag on a 412, stay.
    for (name, value) in response.headers() {
        if !parts.headers.contains_key(name) && *name != CONTENT_LENGTH {
            parts.headers.insert(name.clone(), value.clone());
        }
    }
    Response::from_parts(parts, body)
}

/// Ends a body of JSON with a line break: what it is printed on goes on in a line of its own.
async fn with_newline(response: Response) -> Response {
    let is_json = |value: &HeaderValue| value == "application/json" || value == PROBLEM_JSON;
    if !response.headers().get(CONTENT_TYPE).is_some_and(is_json) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // One that is made as it is sent ends as it ends; that to HEAD is not there, and its length is.
    let length = body.size_hint().exact();
    let Some(length) = length.filter(|length| *length > 0) else {
        let announced =
            parts.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
        if let Some(announced) = announced.filter(|_| length.is_some()) {
            parts.headers.insert(CONTENT_LENGTH, (announced + 1).into());
        }
        return Response::from_parts(parts, body);
    };
    let mut bytes = Vec::with_capacity(length as usize + 1);
    bytes.extend_from_slice(&to_bytes(body, usize::MAX).await.unwrap_or_default());
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(bytes))
}

fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    is_error && response.headers().get(CONTENT_TYPE).is_none_or(|it| it != PROBLEM_JSON)
}

/// Headers of every answer. There is no `Access-Control-Allow-…`: no other site's page reads anything.
fn add_headers(headers: &mut HeaderMap, path: &str, id: &RequestId) {
    let mut add = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(X_FRAME_OPTIONS, "DENY");
    add(REFERRER_POLICY, "no-referrer");
    // With a client certificate a browser would fetch for each site's `<script>` and `<img>`.
    add(RESOURCE_POLICY.clone(), "same-origin");
    add(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    if path.starts_with("/api/v1") {
        add(CACHE_CONTROL, "no-store");
    }
    let id = HeaderValue::try_from(&*id.0).expect("an id is made of visible ASCII");
    headers.insert(REQUEST_ID.clone(), id);
}

/// The answer for a path that no route has.
pub(super) async fn no_such_route() -> StatusCode {
    StatusCode::NOT_FOUND
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn sane_request_ids_are_kept_and_others_replaced() {
        let of = |id: &str| RequestId::of(&headers(&[("x-request-id", id)])).to_string();
        assert_eq!(of("a-1_b.C"), "a-1_b.C");
        for wrong in ["", "a b", "a;b", &"a".repeat(ID_CHARS_MAX + 1)] {
            assert_eq!(of(wrong).len(), 32, "{wrong}");
        }
        assert_ne!(of(""), of(""));
    }

    #[test]
    fn pages_of_other_sites_are_told_from_programs_and_own_pages() {
        let is_cross_site =
            |pairs: &[(&str, &str)]| super::is_cross_site(&headers(pairs), &Uri::from_static("/"));
        assert!(!is_cross_site(&[("host", "dns:8053")]));
        assert!(!is_cross_site(&[("host", "dns:8053"), ("origin", "https://dns:8053")]));
        assert!(!is_cross_site(&[("sec-fetch-site", "same-origin"), ("origin", "https://dns")]));
        assert!(is_cross_site(&[("host", "dns:8053"), ("origin", "https://evil.example")]));
        assert!(is_cross_site(&[("host", "dns:8053"), ("origin", "null")]));
        assert!(is_cross_site(&[("host", "dns:8053"), ("sec-fetch-site", "cross-site")]));
    }

    async fn panics() {
        panic!("on purpose");
    }

    /// Answers with the number of bytes it was sent.
    fn router(limits: Limits) -> axum::Router {
        let hosts = ArcSwap::from_pointee(Hosts::Any);
        let (counters, budget) = (Arc::default(), Arc::default());
        let shell = Shell { limits: ArcSwap::from_pointee(limits), hosts, counters, budget };
        let length = |request: Request| async {
            Ok::<_, Problem>(super::super::body::read(request, &["a/b"]).await?.len().to_string())
        };
        let stuck = || std::future::pending::<()>();
        let nested = axum::Router::new().route("/changes", axum::routing::post(length));
        axum::Router::new()
            .nest("/api/v1", nested)
            .route("/small", axum::routing::post(length))
            .route("/stuck", axum::routing::get(stuck))
            .route("/panics", axum::routing::get(panics))
            .layer(axum::middleware::from_fn_with_state(Arc::new(shell), super::shell))
    }

    async fn send(
        router: &axum::Router,
        method: &str,
        path: &str,
        body: Body,
    ) -> (u16, serde_json::Value, HeaderMap) {
        let request =
            Request::builder().method(method).uri(path).header("content-type", "a/b").body(body).unwrap();
        let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 10_000).await.unwrap();
        (parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default(), parts.headers)
    }

    #[tokio::test]
    async fn bodies_have_a_bound_and_that_of_routes_with_many_records_is_larger() {
        let router = router(Limits { body_bytes: 10, large_body_bytes: 100, ..Limits::default() });
        let streamed = |length| Body::new(Bytewise(length));
        for (path, max) in [("/small", 10), (LARGE[0], 100)] {
            assert_eq!(send(&router, "POST", path, streamed(max)).await.0, 200, "{path}");
            let (status, problem, _) = send(&router, "POST", path, streamed(max + 1)).await;
            assert_eq!(
                (status, problem["type"].as_str()),
                (413, Some("urn:privatelink-dns:problem:body-too-large"))
            );
        }
    }

    #[tokio::test]
    async fn bodies_share_a_memory_that_each_gives_back_however_it_ends() {
        let limits = Limits { body_bytes: 100, bodies_bytes: 150, ..Limits::default() };
        let router = router(limits.clone());
        let whole = |length| Body::new(Bytewise(length));
        let mut held = Box::pin(send(&router, "POST", "/small", Body::new(Stalled(whole(100)))));
        assert!(futures_util::poll!(&mut held).is_pending());
        let (status, problem, headers) = send(&router, "POST", "/small", whole(51)).await;
        assert_eq!(
            (status, problem["type"].as_str(), headers.contains_key("retry-after")),
            (503, Some("urn:privatelink-dns:problem:unavailable"), true)
        );
        assert_eq!(send(&router, "POST", "/small", whole(50)).await.0, 200);
        drop(held);
        assert_eq!(send(&router, "POST", "/small", whole(100)).await.0, 200);

        let router = self::router(Limits { bodies_bytes: 50, ..limits });
        assert_eq!(send(&router, "POST", "/small", whole(50)).await.0, 200);
        let (status, problem, _) = send(&router, "POST", "/small", whole(51)).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (413, Some("urn:privatelink-dns:problem:body-too-large"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_gets_stuck_or_panics_ends_as_a_problem() {
        let router = router(Limits::default());
        let (status, problem, headers) = send(&router, "GET", "/stuck", Body::empty()).await;
        assert_eq!((status, problem["type"].as_str()), (503, Some("urn:privatelink-dns:problem:timeout")));
        assert!(headers.contains_key("retry-after"));
        let (status, problem, headers) = send(&router, "GET", "/panics", Body::empty()).await;
        assert_eq!((status, problem["type"].as_str()), (500, Some("urn:privatelink-dns:problem:internal")));
        assert_eq!(problem["request_id"].as_str().unwrap(), headers["x-request-id"]);
        assert!(!problem.to_string().contains("on purpose"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_given_up() {
        let router = router(Limits::default());
        let (status, problem, _) = send(&router, "POST", "/small", Body::new(Never)).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (408, Some("urn:privatelink-dns:problem:request-timeout"))
        );
    }

    /// A body of some bytes whose length is not announced.
    struct Bytewise(usize);

    impl http_body::Body for Bytewise {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            let left = self.0.checked_sub(1);
            self.0 = left.unwrap_or_default();
            std::task::Poll::Ready(
                left.map(|_| Ok(http_body::Frame::data(axum::body::Bytes::from_static(b"x")))),
            )
        }
    }

    /// A body that does not end behind another.
    struct Stalled(Body);

    impl http_body::Body for Stalled {
        type Data = axum::body::Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            match std::pin::Pin::new(&mut self.0).poll_frame(context) {
                std::task::Poll::Ready(None) => std::task::Poll::Pending,
                polled => polled,
            }
        }
    }

    /// A body that never comes.
    struct Never;

    impl http_body::Body for Never {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
}
