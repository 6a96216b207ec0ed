//! `/cache`: what upstreams said and is kept, and forgetting it.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::named::{RecordView, name_of};
use crate::admin::auth::Deed;
use crate::admin::extract::Operator;
use crate::admin::listener::Peer;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::admin::{App, RequestId, WantedEntries};
use crate::cache::{Cursor, Listed, Manner, Respondent};
use crate::dns::{Name, QueryFlags, RecordType};
use crate::ledger::blocking;

/// Labels of a name that those of some zones only may forget.
const LABELS_MIN: usize = 2;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, flush))
}

/// Which entries are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CacheQuery {
    /// This name and all below it; all names if it is absent.
    #[param(example = "vault.azure.net")]
    name: Option<String>,
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// What upstream said to one question.
#[derive(Debug, Serialize, ToSchema)]
struct EntryView {
    #[schema(example = "contoso.vault.azure.net.")]
    name: String,
    #[serde(rename = "type")]
    #[schema(example = "A")]
    rtype: String,
    /// Whether the question asked for DNSSEC (DO).
    dnssec_ok: bool,
    /// Whether it asked not to check DNSSEC (CD).
    checking_disabled: bool,
    /// Whether the name servers of a delegation said it, and not an upstream of the forwarding rules.
    delegated: bool,
    #[schema(example = "NOERROR")]
    rcode: String,
    age_secs: u32,
    /// Until it ends; 0 when it is stale and answers only while upstream fails.
    fresh_secs: u32,
    /// With the TTLs that are left.
    answer: Vec<RecordView>,
    authority: Vec<RecordView>,
    #[serde(skip)]
    of: Respondent,
}

impl EntryView {
    fn of(listed: &Listed) -> EntryView {
        EntryView {
            name: listed.question.name.to_string(),
            rtype: listed.question.rtype.to_string(),
            dnssec_ok: listed.manner.flags.dnssec_ok,
            checking_disabled: listed.manner.flags.checking_disabled,
            delegated: listed.manner.of != Respondent::RULES,
            of: listed.manner.of,
            rcode: listed.reply.rcode.to_string(),
            age_secs: listed.age_secs,
            fresh_secs: listed.fresh_secs,
            answer: RecordView::all(&listed.reply.answer, listed.age_secs),
            authority: RecordView::all(&listed.reply.authority, listed.age_secs),
        }
    }

    /// Its place, as a page's token holds it.
    fn key(&self) -> String {
        let (dnssec_ok, checking_disabled) = (u8::from(self.dnssec_ok), u8::from(self.checking_disabled));
        format!("{dnssec_ok}{checking_disabled} {} {} {}", self.of.number(), self.rtype, self.name)
    }
}

fn place_of(key: &str) -> Option<Cursor> {
    let mut parts = key.splitn(4, ' ');
    let (flags, of, rtype, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rtype: RecordType = rtype.parse().ok()?;
    let flags = match flags {
        "00" => (false, false),
        "01" => (false, true),
        "10" => (true, false),
        "11" => (true, true),
        _ => return None,
    };
    let flags = QueryFlags { dnssec_ok: flags.0, checking_disabled: flags.1 };
    let of = Respondent::numbered(of.parse().ok()?);
    Some(Cursor::new(name.parse().ok()?, rtype, Manner { flags, of }))
}

/// What is kept of upstreams' replies, in the order of names.
///
/// What zones of this server say is never cached.
#[utoipa::path(
    get, path = "/cache", tag = "answers", params(CacheQuery),
    responses((status = 200, description = "A page of entries", body = Page<EntryView>)),
)]
async fn list(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<CacheQuery>,
) -> Result<Response, Problem> {
    let name = query.name.as_deref().map_or_else(|| Ok(Name::root()), name_of)?;
    let filter = filter_id(&[Some("cache"), Some(&name.to_string())]);
    let after = query.after.as_ref().map(|after| {
        let place = after.key(filter).and_then(place_of);
        place.ok_or_else(|| Problem::invalid("after", "this token is of another list"))
    });
    let (after, limit) = (after.transpose()?, query.limit.unwrap_or_default());
    let (server, wanted) =
        (Arc::clone(&app.server), WantedEntries { name, after, limit: limit.with_one_more() });
    let entries = app.side.scan(move || server.cached(&wanted)).await?;
    let items = entries.iter().map(EntryView::of).collect();
    Ok(Page::of(items, limit, filter, EntryView::key).answer(&uri))
}

/// What is to be forgotten.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FlushQuery {
    /// This name and all below it; everything if it is absent.
    #[param(example = "contoso.vault.azure.net")]
    name: Option<String>,
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
struct Flushed {
    #[schema(example = 3)]
    entries: usize,
}

/// Forgets what upstreams said of a name and all below it, or everything: it is asked again.
///
/// Writes need it not: they are seen through whatever is cached.
#[utoipa::path(
    delete, path = "/cache", tag = "answers", params(FlushQuery),
    responses((status = 200, description = "It is forgotten", body = Flushed)),
)]
async fn flush(
    State(app): State<App>,
    Operator(who): Operator,
    Extension(request_id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<FlushQuery>,
) -> Result<Json<Flushed>, Problem> {
    let name = query.name.as_deref().map(name_of).transpose()?;
    // The root and top-level domains are as good as everything.
    if name.as_ref().is_none_or(|name| name.borrow().label_count() < LABELS_MIN) {
        who.may_change_server()?;
    }
    let (server, below) = (Arc::clone(&app.server), name.clone());
    let entries = blocking(move || server.flush(below.as_ref())).await?;
    let below = name.unwrap_or_else(Name::root);
    let what = format!("forgot {entries} cached replies at and below {below}");
    let (client, request_id) = (peer.address.ip(), request_id.to_string());
    app.auth.note(Deed { who, client, request_id, what });
    Ok(Json(Flushed { entries }))
}
