//! `/zones/{zone}/record-sets`: what is served and written, one name and type at a time.

use std::sync::Arc;

use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::owned::{self, DryRun, Owned, owner_of, tagged, type_of, zone_of};
use crate::admin::body;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::{Kind, Problem};
use crate::admin::query::Query;
use crate::admin::side::SideWork;
use crate::dns::{Name, RecordType};
use crate::ledger::edit::{self, Edit, Faults, FieldPath, RecordSetBody};
use crate::ledger::etag::{Need, Preconditions};
use crate::ledger::listing::{self, Filter, NameFilter};
use crate::ledger::view::{OriginWord, RecordSetView, Shown};
use crate::ledger::{FoundZone, Ledger, Plan, Who, Write, WriteOutcome};
use crate::persist::{Entry, StoredChange, Subject};

pub(super) fn routes() -> OpenApiRouter<Owned> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, write, remove))
}

/// Which record sets are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SetsQuery {
    /// A name, relative or absolute; with a `*`, which stands for any run of characters, all names like it.
    #[param(example = "ww*")]
    name: Option<String>,
    #[serde(rename = "type")]
    #[param(example = "A")]
    rtype: Option<String>,
    /// Sets that have an offer of this origin.
    #[param(inline)]
    origin: Option<OriginWord>,
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// A zone's record sets; in the order of their names up to 10,000 names, beyond in one of the server's own. Both stay
/// as others come and go.
#[utoipa::path(
    get, path = "/zones/{zone}/record-sets", tag = "record sets",
    params(("zone" = String, Path, description = "The zone's name", example = "corp.internal"), SetsQuery),
    responses((status = 200, description = "A page of record sets", body = Page<RecordSetView>)),
)]
async fn list(
    State(ledger): State<Arc<Ledger>>,
    State(side): State<Arc<SideWork>>,
    Path(zone): Path<String>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<SetsQuery>,
) -> Result<Response, Problem> {
    let apex = zone_of(&zone)?;
    let rtype = query.rtype.as_deref().map(type_of).transpose()?;
    let name = query.name.as_deref().map(|text| name_filter(text, &apex)).transpose()?;
    let words = [rtype.map(|rtype| rtype.to_string()), query.origin.map(|origin| format!("{origin:?}"))];
    let shown = apex.to_string();
    let filter_id = filter_id(&[
        Some("sets"),
        Some(&shown),
        query.name.as_deref(),
        words[0].as_deref(),
        words[1].as_deref(),
    ]);
    let after = query.after.as_ref().map(|after| {
        let place = after.key(filter_id).and_then(listing::Cursor::of_key);
        place.ok_or_else(|| Problem::invalid("after", "this token is of a list with other filters"))
    });
    let after = after.transpose()?;
    let limit = query.limit.unwrap_or_default();
    let filter = Filter { name, rtype, origin: query.origin };
    let reader = ledger.clone();
    let look = move || {
        let ledger = reader;
        if !FoundZone::of(&apex, &ledger.written().read(), &ledger.store().load()).has_content() {
            return Err(FoundZone::none(&apex, ""));
        }
        let (written, store) = (ledger.written(), ledger.store());
        Ok(listing::page(&apex, written, store, &filter, after.as_ref(), limit.with_one_more()))
    };
    let found = side.scan(look).await??;
    let page = Page::of(found, limit, filter_id, |(place, _)| place.to_key());
    let items = page.items.into_iter().filter_map(|(_, view)| view).collect();
    Ok(Page { items, next: page.next }.answer(&uri))
}

fn name_filter(text: &str, apex: &Name) -> Result<NameFilter, Problem> {
    if text.contains('*') {
        return Ok(NameFilter::Like(text.to_ascii_lowercase()));
    }
    Name::parse(text, apex.borrow())
        .map(NameFilter::Exactly)
        .map_err(|error| Problem::invalid("name", format!("this is no name: {error}")))
}

/// One record set as it is served, with what it goes before.
///
/// `origin` tells whose it is, `overrides` what an operator's record hides, `by_network` what other networks are served.
#[utoipa::path(
    get, path = "/zones/{zone}/record-sets/{name}/{type}", tag = "record sets",
    params(
        ("zone" = String, Path, description = "The zone's name", example = "corp.internal"),
        ("name" = String, Path, description = "Relative to the zone, `@` for its apex; or absolute, with a final dot", example = "www"),
        ("type" = String, Path, description = "A, AAAA, CNAME, … or TYPE65280", example = "A"),
    ),
    responses((status = 200, description = "The record set", body = RecordSetView), (status = 304, description = "As it was")),
)]
async fn read(
    State(ledger): State<Arc<Ledger>>,
    Path(path): Path<(String, String, String)>,
    conditions: Preconditions,
) -> Result<Response, Problem> {
    let (apex, name, rtype) = parse(&path)?;
    let view =
        view_of(&ledger, &apex, &name, rtype).ok_or_else(|| not_there(&ledger, &apex, &name, rtype))?;
    if owned::is_seen(&conditions, view.etag.as_ref()) {
        return Ok(owned::not_modified(view.etag.as_ref()));
    }
    Ok(tagged(StatusCode::OK, view.etag.as_ref(), &view))
}

/// Writes a record set. Upon one that an endpoint or a file owns it is an operator's override, which goes before it.
#[utoipa::path(
    put, path = "/zones/{zone}/record-sets/{name}/{type}", tag = "record sets",
    params(
        ("zone" = String, Path, description = "The zone's name", example = "corp.internal"),
        ("name" = String, Path, description = "Relative to the zone, `@` for its apex; or absolute, with a final dot", example = "www"),
        ("type" = String, Path, description = "A, AAAA, CNAME, … or TYPE65280", example = "A"),
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("If-Match" = Option<String>, Header, description = "Its ETag, or `*`: needed when it is there"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if nothing is there"),
    ),
    request_body(content = RecordSetBody, example = json!({"ttl": 300, "records": ["10.0.0.4"]})),
    responses(
        (status = 201, description = "It is new, and served", body = RecordSetView),
        (status = 200, description = "As it is served now; for `dry_run` the plan", body = RecordSetView),
    ),
)]
async fn write(
    State(ledger): State<Arc<Ledger>>,
    who: Who,
    Path(path): Path<(String, String, String)>,
    Query(dry_run): Query<DryRun>,
    conditions: Preconditions,
    request: Request,
) -> Result<Response, Problem> {
    let bytes = body::read(request, &["application/json"]).await?;
    let body: RecordSetBody = body::parse(&bytes)?;
    let (apex, name, rtype) = parse(&path)?;
    let mut faults = Faults::default();
    let set = edit::record_set(&apex, rtype, &body, FieldPath::Path, &mut faults);
    faults.check()?;
    let set = set.ok_or_else(|| Problem::invalid("/records", "this is no record set"))?;
    let change = StoredChange::Put(Entry::RecordSet { zone: apex.clone(), name: name.clone(), set });
    let edit = Edit { change, place: FieldPath::Path, conditions, need: Need::Required };
    let was_there = view_of(&ledger, &apex, &name, rtype).is_some();
    let write = Write { who, edits: vec![edit], comment: None, mode: dry_run.mode(), once: None };
    if let WriteOutcome::Planned(plan) = ledger.write(write).await? {
        return Ok(axum::Json(plan).into_response());
    }
    let view = view_of(&ledger, &apex, &name, rtype);
    let view =
        view.ok_or_else(|| Problem::new(Kind::Conflict, "it was written, and taken away a moment later"))?;
    let status = if was_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok(tagged(status, view.etag.as_ref(), &view))
}

/// Takes back what operators wrote; what an endpoint or a file says there is served again.
#[utoipa::path(
    delete, path = "/zones/{zone}/record-sets/{name}/{type}", tag = "record sets",
    params(
        ("zone" = String, Path, description = "The zone's name", example = "corp.internal"),
        ("name" = String, Path, description = "Relative to the zone, `@` for its apex; or absolute, with a final dot", example = "www"),
        ("type" = String, Path, description = "A, AAAA, CNAME, … or TYPE65280", example = "A"),
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("If-Match" = String, Header, description = "Its ETag, or `*`", example = "*"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 200, description = "What is served there again; for `dry_run` the plan", body = RecordSetView),
        (status = 409, description = "An endpoint or a file owns it", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn remove(
    State(ledger): State<Arc<Ledger>>,
    who: Who,
    Path(path): Path<(String, String, String)>,
    Query(dry_run): Query<DryRun>,
    conditions: Preconditions,
) -> Result<Response, Problem> {
    let (apex, name, rtype) = parse(&path)?;
    let subject = Subject::RecordSet { zone: apex.clone(), name: name.clone(), rtype };
    who.identity.may_change(&subject)?;
    let edit = Edit {
        change: StoredChange::Remove(subject),
        place: FieldPath::Path,
        conditions,
        need: Need::Required,
    };
    if view_of(&ledger, &apex, &name, rtype).is_none() {
        return Err(not_there(&ledger, &apex, &name, rtype));
    }
    let write = Write { who, edits: vec![edit], comment: None, mode: dry_run.mode(), once: None };
    if let WriteOutcome::Planned(plan) = ledger.write(write).await? {
        return Ok(axum::Json::<Plan>(plan).into_response());
    }
    Ok(match view_of(&ledger, &apex, &name, rtype) {
        Some(view) => tagged(StatusCode::OK, view.etag.as_ref(), &view),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

fn parse((zone, name, rtype): &(String, String, String)) -> Result<(Name, Name, RecordType), Problem> {
    let apex = zone_of(zone)?;
    let name = owner_of(name, &apex)?;
    Ok((apex, name, type_of(rtype)?))
}

fn view_of(ledger: &Ledger, apex: &Name, name: &Name, rtype: RecordType) -> Option<RecordSetView> {
    let state = ledger.written().read();
    let snapshot = ledger.store().snapshot();
    Shown { apex, name, rtype, state: &state, snapshot: &snapshot }.view()
}

fn not_there(ledger: &Ledger, apex: &Name, name: &Name, rtype: RecordType) -> Problem {
    if FoundZone::of(apex, &ledger.written().read(), &ledger.store().load()).served.is_none() {
        return FoundZone::none(apex, "").into();
    }
    Problem::new(Kind::NotFound, format!("{name} has no {rtype} records in zone {apex}")).at("name")
}
