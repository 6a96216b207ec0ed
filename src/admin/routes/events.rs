//! `/events`: Azure Event Grid tells that something was written, and a pass looks what it was.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{debug, info, warn};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::auth::{RefusedRequest, tell};
use crate::admin::body;
use crate::admin::counters::Counters;
use crate::admin::events::Event;
use crate::admin::listener::Peer;
use crate::admin::problem::{Kind, Problem};
use crate::admin::{App, RequestId};
use crate::ledger::Role;
use crate::telemetry::when;

/// Events of one request; Event Grid batches no more.
const EVENTS_MAX: usize = 5_000;
/// The longest validation code; Event Grid's are UUIDs.
const CODE_CHARS_MAX: usize = 256;

/// The media types of both schemas; the last two are CloudEvents 1.0.
const MEDIA_TYPES: [&str; 3] =
    ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"];

/// The header and the query parameter that the secret may be in.
static SECRET: HeaderName = HeaderName::from_static("x-event-secret");
const SECRET_PARAMETER: &str = "secret";

/// The handshake of CloudEvents' web hooks.
static REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
static ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
static ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// The event by which Event Grid asks whether we want its events.
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

/// These lie beside the door of the other routes: Event Grid has a secret where others have a token.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(receive, agree))
}

/// An event of either schema; what else it says is for the pass to find out.
#[derive(Debug, Deserialize)]
struct Sent {
    id: String,
    /// `topic` in Event Grid's schema.
    #[serde(alias = "topic", default)]
    source: String,
    #[serde(rename = "type", alias = "eventType", default)]
    kind: String,
    #[serde(rename = "time", alias = "eventTime")]
    time: Option<String>,
    #[serde(default)]
    data: Value,
}

/// One event or many: CloudEvents come alone unless they are a batch.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Events {
    Many(Vec<Sent>),
    One(Box<Sent>),
}

/// What became of the events.
#[derive(Debug, Serialize, ToSchema)]
struct Received {
    /// Events for which a pass begins within a second.
    #[schema(example = 1)]
    taken: usize,
    /// Events that are too old, or were here before.
    #[schema(example = 0)]
    ignored: usize,
}

/// Events of Azure Event Grid, in its own schema or as CloudEvents 1.0; each burst begins one pass of all sources.
///
/// The secret is sent as `?secret=`, or as the header `X-Event-Secret`; a bearer token of an operator serves as well.
/// A `SubscriptionValidationEvent` is answered with its code.
#[utoipa::path(
    post, path = "/api/v1/events", tag = "sync",
    security(("bearer" = []), ("event_secret" = [])),
    request_body(
        content = Value, content_type = "application/json",
        example = json!([{
            "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
            "topic": "/subscriptions/00000000-0000-4000-8000-0000000000a1",
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2026-07-01T12:01:09.1204556Z",
            "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"},
            "dataVersion": "1", "metadataVersion": "1"
        }])
    ),
    responses((status = 200, description = "They are taken; to a validation event `validationResponse`", body = Received)),
)]
async fn receive(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let (headers, uri, method) = (request.headers(), request.uri(), request.method());
    let_in(&app, &Call { peer: &peer, request_id: &request_id, method, headers, uri }).await?;
    let bound = bound(request.headers());
    let bytes = body::read(request, &MEDIA_TYPES).await?;
    let sent = match bound {
        Some(sent) => vec![sent],
        None => match body::parse::<Value>(&bytes).and_then(read)? {
            Events::Many(many) => many,
            Events::One(one) => vec![*one],
        },
    };
    if sent.len() > EVENTS_MAX {
        return Err(Problem::new(Kind::TooLarge, format!("a request here has at most {EVENTS_MAX} events")));
    }
    if let Some(code) = sent.iter().find(|it| it.kind == VALIDATION).map(code) {
        info!(client = %peer.address.ip(), "Event Grid is told that its events are wanted");
        return Ok(Json(json!({ "validationResponse": code? })).into_response());
    }
    let now = SystemTime::now();
    let mut taken = 0;
    for (index, it) in sent.iter().enumerate() {
        let time = it.time.as_deref().map(|text| when::parse(text).ok_or_else(|| wrong_time(index)));
        let event = Event { source: &it.source, id: &it.id, time: time.transpose()? };
        taken += usize::from(app.events.is_news(&event, now));
    }
    if taken > 0 {
        let server = Arc::clone(&app.server);
        app.events.nudge(move || {
            let begin = move || {
                // All sources are wanted, so none can be missing.
                if let Err(error) = server.nudge(None) {
                    warn!(
                        "An event began no pass, the next one by the clock will see what it told of: {error}"
                    );
                }
            };
            // Whether it ends well is told by itself.
            drop(tokio::task::spawn_blocking(begin));
        });
    }
    let ignored = sent.len() - taken;
    debug!(client = %peer.address.ip(), taken, ignored, "Events came");
    Ok(Json(Received { taken, ignored }).into_response())
}

/// Agrees to events: the abuse protection of CloudEvents' web hooks.
#[utoipa::path(
    options, path = "/api/v1/events", tag = "sync",
    security(("bearer" = []), ("event_secret" = [])),
    params(("WebHook-Request-Origin" = String, Header, description = "Who would send them", example = "eventgrid.azure.net")),
    responses((status = 200, description = "`WebHook-Allowed-Origin` repeats the origin")),
)]
async fn agree(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let method = &Method::OPTIONS;
    let_in(&app, &Call { peer: &peer, request_id: &request_id, method, headers: &headers, uri: &uri })
        .await?;
    let Some(origin) = headers.get(&REQUEST_ORIGIN) else {
        let detail = "say in `WebHook-Request-Origin` who would send events";
        return Err(Problem::new(Kind::Malformed, detail).at("WebHook-Request-Origin"));
    };
    info!(client = %peer.address.ip(), ?origin, "Events are wanted, as was asked");
    let rate = HeaderValue::from_static("*");
    Ok((StatusCode::OK, [(ALLOWED_ORIGIN.clone(), origin.clone()), (ALLOWED_RATE.clone(), rate)])
        .into_response())
}

/// What is looked at before anybody is let in.
struct Call<'r> {
    peer: &'r Peer,
    request_id: &'r RequestId,
    method: &'r Method,
    headers: &'r HeaderMap,
    uri: &'r Uri,
}

/// Lets in who has the secret, or the token of an operator.
async fn let_in(app: &App, call: &Call<'_>) -> Result<(), Problem> {
    let let_in = is_let_in(app, call).await;
    if let Err(problem) = &let_in {
        Counters::count_unknown(&app.counters, problem.kind);
        let has_secret = call.headers.contains_key(&SECRET) || secret_of(call.uri).is_some();
        if has_secret && problem.kind != Kind::Throttled {
            info!(client = %call.peer.address.ip(), path = call.uri.path(), why = %problem.detail, "Not let in");
        } else {
            tell(problem, call.headers, call.peer, call.uri.path());
        }
    }
    let_in
}

async fn is_let_in(app: &App, call: &Call<'_>) -> Result<(), Problem> {
    let Call { peer, headers, uri, .. } = call;
    let by_header = headers.get(&SECRET).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match by_header.or_else(|| secret_of(uri)) {
        Some(secret) => app.auth.check_secret(peer, || app.events.is_secret(&secret)),
        None => {
            let who = app.auth.identify(headers, peer).await?;
            let needed = who.needs(Role::Operator).inspect_err(|refusal| {
                let (client, why) = (peer.address.ip(), refusal.why.to_string());
                let (request_id, path) = (call.request_id.to_string(), call.uri.path().to_owned());
                let method = call.method.clone();
                let who = who.clone();
                app.auth.note_refusal(RefusedRequest { who, client, request_id, method, path, why });
            });
            needed.map_err(Problem::from)
        }
    }
}

/// The secret in a URI's query.
fn secret_of(uri: &Uri) -> Option<String> {
    let axum::extract::Query(pairs) =
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.into_iter().find(|(name, _)| name == SECRET_PARAMETER).map(|(_, secret)| secret)
}

/// An event whose attributes are headers, the binary mode of CloudEvents; its body is for others.
fn bound(headers: &HeaderMap) -> Option<Sent> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    text("ce-specversion")?;
    Some(Sent {
        id: text("ce-id").unwrap_or_default(),
        source: text("ce-source").unwrap_or_default(),
        kind: text("ce-type").unwrap_or_default(),
        time: text("ce-time"),
        data: Value::Null,
    })
}

fn read(value: Value) -> Result<Events, Problem> {
    let wrong = |_| Problem::invalid("", "this is no event and no list of events: each has an `id` at least");
    serde_json::from_value(value).map_err(wrong)
}

fn code(event: &Sent) -> Result<&str, Problem> {
    let code = event.data.get("validationCode").and_then(Value::as_str);
    let code = code.filter(|code| (1..=CODE_CHARS_MAX).contains(&code.len()));
    code.ok_or_else(|| Problem::invalid("/0/data/validationCode", "a validation event has a code"))
}

fn wrong_time(index: usize) -> Problem {
    Problem::invalid(format!("/{index}/eventTime"), "this is no time in UTC; write 2026-07-01T12:01:09Z")
}
