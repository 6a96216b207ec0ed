//! `/sync`: where every source stands, and an operator's hand on them.

use std::sync::Arc;

use axum::extract::{OriginalUri, Request, State};
use axum::http::StatusCode;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::auth::Deed;
use crate::admin::body;
use crate::admin::extract::Operator;
use crate::admin::listener::Peer;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::{Kind, Problem};
use crate::admin::query::Query;
use crate::admin::{App, DriftReport, RequestId, SourceReport};
use crate::ledger::blocking;
use crate::sources::{ConfirmError, NudgeError};
use crate::sync::Fingerprint;

/// When to come again while `state_dir` cannot be written.
const RETRY_SECS: u64 = 30;
/// When to come again while no instance that lists is heard: a dead one is replaced within ten seconds.
const NOT_TOLD_RETRY_SECS: u64 = 5;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read, begin))
}

/// Which sources are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SyncQuery {
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// A page of sources, and what holds for all.
#[derive(Debug, Serialize, ToSchema)]
struct SyncView {
    /// In the order of their names.
    items: Vec<SourceReport>,
    /// What to send as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<After>,
    /// Names that private endpoints contest; `/endpoints` shows by whom.
    conflicts: usize,
    drift: DriftReport,
    /// Why a restart would not know what is served now.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// Where every source stands.
///
/// What is held back waits for `POST /sync` with its `plan`.
#[utoipa::path(
    get, path = "/sync", tag = "sync", params(SyncQuery),
    responses((status = 200, description = "A page of sources", body = SyncView)),
)]
async fn read(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<SyncQuery>,
) -> Result<Response, Problem> {
    let filter = filter_id(&[Some("sync")]);
    let after = query.after.as_ref().map(|after| {
        after.key(filter).ok_or_else(|| Problem::invalid("after", "this token is of another list"))
    });
    let (after, limit) = (after.transpose()?, query.limit.unwrap_or_default());
    let report = app.server.sync();
    let items =
        report.sources.into_iter().filter(|source| after.is_none_or(|after| source.name.as_str() > after));
    let page =
        Page::of(items.take(limit.with_one_more()).collect(), limit, filter, |source| source.name.clone());
    let link = page.link(&uri);
    let (conflicts, drift, trouble) = (report.conflicts, report.drift, report.trouble);
    let view = SyncView { items: page.items, next: page.next, conflicts, drift, trouble };
    let mut response = Json(view).into_response();
    if let Some(link) = link {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// What is to be done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Begin a pass of this source only.
    source: Option<String>,
    /// Let a pass that is held back through.
    confirm: Option<Confirm>,
}

/// A yes to one plan, and to no other.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Confirm {
    #[schema(example = "azure")]
    source: String,
    /// `held_back.plan` of the source, as it was looked at.
    #[schema(example = "7d0c6a0b2f3e4d5c8b9a0f1e2d3c4b5a")]
    plan: String,
}

/// What was begun.
#[derive(Debug, Serialize, ToSchema)]
struct Begun {
    /// Sources of which a pass begins now; one that is under way is followed by another.
    #[schema(example = json!(["azure"]))]
    sources: Vec<String>,
}

/// Begins a pass of all sources or of one, or confirms exactly the plan that is held back. An empty body is one of all.
#[utoipa::path(
    post, path = "/sync", tag = "sync",
    request_body(content = Wanted, example = json!({"source": "azure"})),
    responses(
        (status = 202, description = "It begins", body = Begun),
        (
            status = 409, description = "Nothing is held back, or another plan by now: `now` tells which", body = Problem,
            content_type = "application/problem+json"
        ),
        (
            status = 503, description = "Another instance lists and does not answer, or the confirmation cannot be kept",
            body = Problem, content_type = "application/problem+json"
        ),
    ),
)]
async fn begin(
    State(app): State<App>,
    Operator(who): Operator,
    Extension(request_id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, Problem> {
    let wanted = read_wanted(request).await?;
    let sources = match wanted {
        Wanted { source: Some(_), confirm: Some(_) } => {
            return Err(Problem::invalid(
                "/source",
                "`confirm` names its source itself: send one of the two",
            ));
        }
        Wanted { source, confirm: None } => {
            let server = Arc::clone(&app.server);
            blocking(move || server.nudge(source.as_deref())).await?.map_err(not_begun)?
        }
        Wanted { source: None, confirm: Some(Confirm { source, plan }) } => {
            who.may_change_server()?;
            let plan: Fingerprint = plan.parse().map_err(|_| {
                Problem::invalid("/confirm/plan", "this is no plan; take `held_back.plan` as it is")
            })?;
            let (server, name) = (Arc::clone(&app.server), source.clone());
            blocking(move || server.confirm(&name, plan)).await?.map_err(problem)?;
            let what = format!("confirmed plan {plan} of source {source}");
            let (client, request_id) = (peer.address.ip(), request_id.to_string());
            app.auth.note(Deed { who, client, request_id, what });
            vec![source]
        }
    };
    Ok((StatusCode::ACCEPTED, Json(Begun { sources })).into_response())
}

/// The body; none at all wants a pass of all.
async fn read_wanted(request: Request) -> Result<Wanted, Problem> {
    use http_body::Body as _;
    if request.body().is_end_stream() {
        return Ok(Wanted::default());
    }
    let bytes = body::read(request, &["application/json"]).await?;
    if bytes.is_empty() { Ok(Wanted::default()) } else { body::parse(&bytes) }
}

fn not_begun(error: NudgeError) -> Problem {
    let detail = error.to_string();
    match error {
        NudgeError::NoSuchSource(_) => Problem::invalid("/source", format!("{detail}; GET /sync lists them")),
        NudgeError::NotTold(_) => {
            Problem::new(Kind::Unavailable, detail).retry_after_secs(NOT_TOLD_RETRY_SECS)
        }
    }
}

fn problem(error: ConfirmError) -> Problem {
    let detail = error.to_string();
    match error {
        ConfirmError::NoSuchSource(_) => {
            Problem::invalid("/confirm/source", format!("{detail}; GET /sync lists them"))
        }
        ConfirmError::NothingHeldBack => Problem::new(Kind::Conflict, detail).at("/confirm/source"),
        ConfirmError::OtherPlan { now } => {
            let detail = format!("{detail}; look at what it does, and confirm that");
            Problem::new(Kind::Conflict, detail).at("/confirm/plan").with("now", now.to_string())
        }
        ConfirmError::NotTold(_) => {
            Problem::new(Kind::Unavailable, detail).retry_after_secs(NOT_TOLD_RETRY_SECS)
        }
        ConfirmError::NotKept(_) => {
            Problem::new(Kind::Unavailable, format!("{detail}; see that state_dir can be written to"))
                .retry_after_secs(RETRY_SECS)
        }
    }
}
