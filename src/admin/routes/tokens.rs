//! `/tokens`: making bearer tokens, listing and revoking them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::owned::{DryRun, Owned, located};
use super::posted::Posted;
use crate::admin::body;
use crate::admin::extract::Admin;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::{Kind, Problem};
use crate::admin::query::Query;
use crate::ledger::edit::{Edit, Faults, FieldPath};
use crate::ledger::etag::{Need, Preconditions};
use crate::ledger::{Ledger, Mode, Plan, Who, Write, WriteOutcome};
use crate::ledger::{Minted, Role, Scope};
use crate::ledger::{role, stored_role};
use crate::persist::{Entry, StoredChange, StoredToken};
use crate::telemetry::when::{rfc3339, rfc3339_of_secs};
use crate::telemetry::{Quoted, is_hidden};

/// Characters of a token's name.
const NAME_CHARS_MAX: usize = 100;
/// Ten years: what lives longer has no end.
const EXPIRES_IN_DAYS_MAX: u32 = 3_650;
const DAY_SECS: u64 = 86_400;
/// Tokens that are kept, revoked ones included: each is in memory.
const TOKENS_MAX: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<Owned> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, revoke))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// Whom the audit names.
    #[schema(example = "deploy-pipeline")]
    name: String,
    role: Role,
    /// Names that it may change, as patterns; without them all.
    #[schema(example = json!(["corp.internal", "web-*.example.internal"]))]
    zones: Option<Vec<String>>,
    /// Without it, it lives until it is revoked.
    #[schema(example = 90)]
    expires_in_days: Option<u32>,
}

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct TokenView {
    #[schema(example = "9f86d081884c7d65")]
    id: String,
    name: String,
    role: Role,
    /// What it may change; `["*"]` is everything.
    #[schema(value_type = Vec<String>)]
    zones: Vec<String>,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    /// On this instance, since it was started.
    last_used: Option<String>,
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
struct Made {
    /// What to send as `Authorization: Bearer`; it is shown now and never again, also not to a repeated request.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(flatten)]
    about: TokenView,
}

/// Which tokens are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TokensQuery {
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

impl TokenView {
    fn of(token: &StoredToken, last_used: Option<SystemTime>) -> TokenView {
        let zones: Vec<String> = token.zones.iter().map(ToString::to_string).collect();
        TokenView {
            id: token.id.to_string(),
            name: token.name.to_string(),
            role: role(token.role),
            zones: if zones.is_empty() { vec!["*".to_owned()] } else { zones },
            created: rfc3339_of_secs(token.created_secs),
            expires: token.expires_secs.map(rfc3339_of_secs),
            revoked: token.revoked_secs.map(rfc3339_of_secs),
            last_used: last_used.map(rfc3339),
        }
    }
}

/// All tokens, revoked ones included, in the order of their ids.
///
/// Without their secrets, which are not kept.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", params(TokensQuery),
    responses((status = 200, description = "A page of tokens", body = Page<TokenView>)),
)]
async fn list(
    State(ledger): State<Arc<Ledger>>,
    _admin: Admin,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<TokensQuery>,
) -> Result<Response, Problem> {
    let filter = filter_id(&[Some("tokens")]);
    let after = query.after.as_ref().map(|after| {
        after.key(filter).ok_or_else(|| Problem::invalid("after", "this token is of another list"))
    });
    let after = after.transpose()?;
    let limit = query.limit.unwrap_or_default();
    let written = ledger.written();
    let state = written.read();
    let mut tokens: Vec<&StoredToken> =
        state.tokens().filter(|token| after.is_none_or(|after| &*token.id > after)).collect();
    tokens.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let tokens = tokens.into_iter().take(limit.with_one_more());
    let items = tokens.map(|token| TokenView::of(token, written.last_used(&token.id))).collect();
    drop(state);
    Ok(Page::of(items, limit, filter, |view: &TokenView| view.id.clone()).answer(&uri))
}

/// Makes a token. It is shown once.
///
/// A repeated request with the same `Idempotency-Key` is answered without the token itself.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens",
    params(
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "Done once, however often it is sent"),
    ),
    request_body(content = NewToken, example = json!({
        "name": "deploy-pipeline", "role": "operator", "zones": ["corp.internal"], "expires_in_days": 90,
    })),
    responses(
        (status = 201, description = "The token, shown now and never again", body = Made),
        (status = 200, description = "The plan, for `dry_run`", body = Plan),
    ),
)]
async fn create(
    State(ledger): State<Arc<Ledger>>,
    _admin: Admin,
    posted: Posted,
) -> Result<Response, Problem> {
    let new: NewToken = body::parse(&posted.bytes)?;
    let zones = check(&new)?;
    if ledger.written().read().tokens().count() >= TOKENS_MAX {
        return Err(Problem::new(Kind::Conflict, format!("there are {TOKENS_MAX} tokens already")));
    }
    let minted = Minted::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let stored = StoredToken {
        id: minted.id.as_str().into(),
        name: new.name.trim().into(),
        hash: minted.secret_sha256.into(),
        role: stored_role(new.role),
        zones,
        created_secs: now,
        expires_secs: new.expires_in_days.map(|days| now + u64::from(days) * DAY_SECS),
        revoked_secs: None,
    };
    let about = TokenView::of(&stored, None);
    let edit = Edit {
        change: StoredChange::Put(Entry::Token(stored)),
        place: FieldPath::Path,
        conditions: Preconditions::default(),
        need: Need::Required,
    };
    let path = format!("/api/v1/tokens/{}", minted.id);
    Ok(match ledger.write(posted.write(vec![edit], None, &about)).await? {
        WriteOutcome::Planned(plan) => axum::Json::<Plan>(plan).into_response(),
        WriteOutcome::Done(_) => {
            let made = Made { token: Some(minted.text), about };
            located((StatusCode::CREATED, axum::Json(made)).into_response(), &path)
        }
        WriteOutcome::Replayed(_, answer) => {
            let about: serde_json::Value = serde_json::from_slice(&answer).unwrap_or(json!({}));
            (StatusCode::CREATED, axum::Json(about)).into_response()
        }
    })
}

fn check(new: &NewToken) -> Result<Vec<Arc<str>>, Problem> {
    let mut faults = Faults::default();
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(is_hidden) {
        faults.add("/name", format!("a name has 1 to {NAME_CHARS_MAX} characters, all of them to be seen"));
    }
    if let Some(days) = new.expires_in_days
        && !(1..=EXPIRES_IN_DAYS_MAX).contains(&days)
    {
        faults.add("/expires_in_days", format!("1 to {EXPIRES_IN_DAYS_MAX} days; leave it out for no end"));
    }
    let scope = new.zones.as_deref().map(Scope::parse).unwrap_or(Ok(Scope::All));
    let is_all = matches!(scope, Ok(Scope::All));
    if let Err(error) = &scope {
        let index = new.zones.iter().flatten().position(|it| Scope::parse(std::slice::from_ref(it)).is_err());
        let field = index.map_or_else(|| "/zones".to_owned(), |index| format!("/zones/{index}"));
        faults.add(field, Quoted(&error.to_string()));
    }
    faults.check()?;
    let zones = new.zones.iter().flatten().filter(|_| !is_all);
    Ok(zones.map(|zone| zone.as_str().into()).collect())
}

/// One token, without its secret.
///
/// `last_used` is of this instance, since it was started.
#[utoipa::path(
    get, path = "/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "Its id: the part behind `pldns_`")),
    responses((status = 200, description = "The token", body = TokenView)),
)]
async fn read(
    State(ledger): State<Arc<Ledger>>,
    _admin: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let token = stored(&ledger, &id)?;
    Ok(axum::Json(TokenView::of(&token, ledger.written().last_used(&id))).into_response())
}

fn stored(ledger: &Ledger, id: &str) -> Result<StoredToken, Problem> {
    let token = ledger.written().read().token(id).map(|(token, _)| token.clone());
    token.ok_or_else(|| Problem::new(Kind::NotFound, "there is no token with this id").at("id"))
}

/// Revokes a token; it opens nothing any more, and stays in the list.
#[utoipa::path(
    delete, path = "/tokens/{id}", tag = "tokens",
    params(
        ("id" = String, Path, description = "Its id: the part behind `pldns_`"),
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
    ),
    responses((status = 204, description = "It is revoked"), (status = 200, description = "The plan, for `dry_run`", body = Plan)),
)]
async fn revoke(
    State(ledger): State<Arc<Ledger>>,
    _admin: Admin,
    who: Who,
    Path(id): Path<String>,
    Query(dry_run): Query<DryRun>,
) -> Result<Response, Problem> {
    let token = stored(&ledger, &id)?;
    if token.revoked_secs.is_some() && dry_run.mode() == Mode::Do {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let edit = Edit {
        change: StoredChange::Put(Entry::Token(StoredToken { revoked_secs: Some(now), ..token })),
        place: FieldPath::Path,
        conditions: Preconditions::default(),
        need: Need::Optional,
    };
    let write = Write { who, edits: vec![edit], comment: None, mode: dry_run.mode(), once: None };
    Ok(match ledger.write(write).await? {
        WriteOutcome::Planned(plan) => axum::Json::<Plan>(plan).into_response(),
        WriteOutcome::Done(_) | WriteOutcome::Replayed(..) => StatusCode::NO_CONTENT.into_response(),
    })
}
