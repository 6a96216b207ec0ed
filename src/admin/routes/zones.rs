//! `/zones`: which there are, making them, their settings, taking them away.

use std::sync::Arc;

use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::owned::{self, DryRun, Owned, given, located, tagged, zone_of};
use super::posted::Posted;
use crate::admin::body;
use crate::admin::extract::preconditions;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::{Kind, Problem};
use crate::admin::query::Query;
use crate::admin::side::SideWork;
use crate::dns::Name;
use crate::ledger::edit::{Edit, FieldPath};
use crate::ledger::etag::{Need, Preconditions, Tags};
use crate::ledger::idempotency::IdempotencyKey;
use crate::ledger::listing::is_like;
use crate::ledger::view::{KindWord, MadeBy, OnMissingWord, OriginCounts, ZoneView};
use crate::ledger::{FoundZone, Ledger, Plan, RefusalKind, Who, Write, WriteOutcome};
use crate::persist::{Entry, Made, StoredChange, StoredZone, Subject};
use crate::privatelink::Template;
use crate::telemetry::Quoted;
use crate::zone::{OnMissing, ZoneKind};

/// Networks that one zone names at most; a zone for more is one for all.
const NETWORKS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<Owned> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, change, remove))
}

/// Which zones are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ZonesQuery {
    /// The zone's name; `*` stands for any run of characters.
    #[param(example = "*.windows.net.")]
    name: Option<String>,
    #[param(inline)]
    kind: Option<KindWord>,
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// A zone to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewZone {
    /// The final dot may be left out.
    #[schema(example = "corp.internal")]
    name: String,
    /// Unless said, what the catalogue knows as a private-link zone is one, and every other is plain.
    kind: Option<KindWord>,
    on_missing: Option<OnMissingWord>,
    /// The networks that see it; none = all.
    #[serde(default)]
    networks: Vec<String>,
}

/// Settings of a zone; `null` takes back what was set, and what is left out stays (RFC 7396).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ZonePatch {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<OnMissingWord>)]
    on_missing: Option<Option<OnMissingWord>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    networks: Option<Option<Vec<String>>>,
}

/// All zones, in the order of their names.
///
/// Those of config, of the catalogue, of sync and of this API; `made_by` tells whose each is. `served` is false for one that is
/// only written: `why_not_served` tells why.
#[utoipa::path(
    get, path = "/zones", tag = "zones", params(ZonesQuery),
    responses((status = 200, description = "A page of zones", body = Page<ZoneView>)),
)]
async fn list(
    State(ledger): State<Arc<Ledger>>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ZonesQuery>,
) -> Result<Response, Problem> {
    let kind = query.kind.map(|kind| if kind == KindWord::Plain { "plain" } else { "private-link" });
    let filter = filter_id(&[Some("zones"), query.name.as_deref(), kind]);
    let after = query.after.as_ref().map(|after| after_name(after, filter)).transpose()?;
    let limit = query.limit.unwrap_or_default();
    let state = ledger.written().read();
    let snapshot = ledger.store().snapshot();
    let mut names: Vec<&Name> = snapshot.zones().map(|(apex, _)| apex).collect();
    names.extend(state.zones().map(|zone| &zone.apex).chain(state.zones_with_sets()));
    names.sort_unstable();
    names.dedup();
    let is_named = |apex: &Name| {
        let shown = apex.to_string();
        let wanted = query.name.as_deref().map(str::to_ascii_lowercase);
        wanted.is_none_or(|glob| is_like(&glob, &shown) || is_like(&glob, shown.trim_end_matches('.')))
    };
    let views = names
        .into_iter()
        .filter(|apex| after.as_ref().is_none_or(|after| *apex > after) && is_named(apex))
        .filter_map(|apex| ZoneView::of(apex, &state, &snapshot))
        .filter(|view| query.kind.is_none_or(|kind| view.kind == kind));
    let items: Vec<ZoneView> = views.take(limit.with_one_more()).collect();
    drop(state);
    Ok(Page::of(items, limit, filter, |view| view.name.clone()).answer(&uri))
}

fn after_name(after: &After, filter: u64) -> Result<Name, Problem> {
    let key = after.key(filter).and_then(|key| key.parse().ok());
    key.ok_or_else(|| Problem::invalid("after", "this token is of a list with other filters"))
}

/// Makes a zone.
///
/// It is served at once, with a SOA record of its own unless one is written. `on_missing` is what a name means that the zone
/// does not hold: `nxdomain`, or `ask-public` to go on upstream.
#[utoipa::path(
    post, path = "/zones", tag = "zones",
    params(
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "Done once, however often it is sent"),
    ),
    request_body(content = NewZone, example = json!({"name": "corp.internal", "on_missing": "nxdomain"})),
    responses(
        (status = 201, description = "It is made and served", body = ZoneView),
        (status = 200, description = "The plan, for `dry_run`", body = Plan),
    ),
)]
async fn create(State(ledger): State<Arc<Ledger>>, posted: Posted) -> Result<Response, Problem> {
    let new: NewZone = body::parse(&posted.bytes)?;
    let apex = crate::ledger::edit::zone_name(&new.name).map_err(|why| Problem::invalid("/name", why))?;
    // Before anything is told of what is there: what is refused is in the audit, and this would not be.
    posted.who.identity.may_change(&Subject::Zone(apex.clone()))?;
    let is_known = ledger.neighbours().catalogue().is_private_link_zone(apex.borrow()).is_some();
    let kind =
        new.kind.map_or(if is_known { ZoneKind::PrivateLink } else { ZoneKind::Plain }, ZoneKind::from);
    let on_missing = new.on_missing.map(OnMissing::from);
    check_public_suffix(&ledger, &apex, kind, on_missing)?;
    let networks = networks(&new.networks)?;
    let networks = (!networks.is_empty()).then_some(networks);
    let zone = StoredZone { apex: apex.clone(), made: Made::ByRest(kind), on_missing, networks };
    let is_replay = is_key_used(&ledger, &posted.who, posted.key.as_ref()).await?;
    let is_there = || FoundZone::of(&apex, &ledger.written().read(), &ledger.store().load()).is_there();
    if !is_replay && is_there() {
        return Err(is_there_already(&apex));
    }
    let edit = Edit {
        change: StoredChange::Put(Entry::Zone(zone)),
        place: FieldPath::Path,
        conditions: Preconditions { if_match: None, if_none_match: Some(Tags::Any) },
        need: Need::Optional,
    };
    let write = posted.write(vec![edit], None, &json!({ "zone": apex.to_string() }));
    let outcome = ledger.write(write).await.map_err(|refusal| match refusal.kind {
        // Another made it a moment ago.
        RefusalKind::PreconditionFailed => is_there_already(&apex),
        _ if refusal.at.as_deref() == Some("zone") => refusal.at("/name").into(),
        _ => refusal.into(),
    })?;
    if let WriteOutcome::Planned(plan) = outcome {
        return Ok(axum::Json(plan).into_response());
    }
    let state = ledger.written().read();
    let view = ZoneView::of(&apex, &state, &ledger.store().load());
    drop(state);
    let view =
        view.ok_or_else(|| Problem::new(Kind::Conflict, "it was made, and taken away a moment later"))?;
    Ok(located(
        tagged(StatusCode::CREATED, view.etag.as_ref(), &view),
        &format!("/api/v1/zones/{}", owned::encoded(&view.name)),
    ))
}

/// Whether this key's request was answered before; whatever it asks for is then there already.
async fn is_key_used(ledger: &Ledger, who: &Who, key: Option<&IdempotencyKey>) -> Result<bool, Problem> {
    match key {
        Some(key) => Ok(ledger.has_answered(who, key).await?),
        None => Ok(false),
    }
}

fn is_there_already(apex: &Name) -> Problem {
    let detail = format!("zone {apex} is there already; PATCH /api/v1/zones/{apex} changes its settings");
    Problem::new(Kind::Conflict, detail).at("/name")
}

/// A zone of all storage accounts of the world without those of others makes these vanish.
fn check_public_suffix(
    ledger: &Ledger,
    apex: &Name,
    kind: ZoneKind,
    on_missing: Option<OnMissing>,
) -> Result<(), Problem> {
    let usual = if kind == ZoneKind::Plain { OnMissing::NxDomain } else { OnMissing::AskPublic };
    if on_missing.unwrap_or(usual) == OnMissing::AskPublic {
        return Ok(());
    }
    let text = apex.to_string();
    let text = text.trim_end_matches('.');
    let takes = |suffix: &Template| {
        let suffix = suffix.to_string();
        suffix.strip_suffix(text).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    let catalogue = ledger.neighbours().catalogue();
    let mut suffixes = catalogue.services().iter().flat_map(|service| &service.public_suffixes);
    let Some(suffix) = suffixes.find(|suffix| takes(suffix)) else { return Ok(()) };
    let is = if suffix.to_string() == text {
        format!("{apex} is a public suffix of Azure")
    } else {
        format!("{apex} lies above {suffix}, a public suffix of Azure")
    };
    let detail = format!(
        "{is}: everybody else's names below it would not exist; set \
         `on_missing` to `ask-public`, or leave the zone out and its names are spliced"
    );
    Err(Problem::invalid("/on_missing", detail))
}

fn networks(names: &[String]) -> Result<Vec<Arc<str>>, Problem> {
    if names.len() > NETWORKS_MAX {
        return Err(Problem::invalid("/networks", format!("a zone names at most {NETWORKS_MAX} networks")));
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let why = format!("`{}` stands twice", Quoted(name));
            return Err(Problem::invalid(format!("/networks/{index}"), why));
        }
    }
    Ok(names.iter().map(|name| name.as_str().into()).collect())
}

/// One zone.
///
/// `origins` counts its record sets by where they come from.
#[utoipa::path(
    get, path = "/zones/{zone}", tag = "zones",
    params(("zone" = String, Path, description = "Its name", example = "corp.internal")),
    responses((status = 200, description = "The zone", body = ZoneView), (status = 304, description = "As it was")),
)]
async fn read(
    State(ledger): State<Arc<Ledger>>,
    State(side): State<Arc<SideWork>>,
    Path(zone): Path<String>,
    conditions: Preconditions,
) -> Result<Response, Problem> {
    let apex = zone_of(&zone)?;
    let mut view = view_of(&ledger, &apex)?;
    if owned::is_seen(&conditions, view.etag.as_ref()) {
        return Ok(owned::not_modified(view.etag.as_ref()));
    }
    let served = ledger.store().load().zone(apex.borrow()).cloned();
    if let Some(served) = served {
        view.origins = Some(side.scan(move || OriginCounts::of(&served)).await?);
    }
    Ok(tagged(StatusCode::OK, view.etag.as_ref(), &view))
}

fn view_of(ledger: &Ledger, apex: &Name) -> Result<ZoneView, Problem> {
    let state = ledger.written().read();
    let view = ZoneView::of(apex, &state, &ledger.store().load());
    view.ok_or_else(|| FoundZone::none(apex, "").into())
}

/// Changes a zone's settings.
///
/// Of zones of config as well: the settings lie over those of config until `null` takes them back.
#[utoipa::path(
    patch, path = "/zones/{zone}", tag = "zones",
    params(
        ("zone" = String, Path, description = "Its name", example = "corp.internal"),
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("If-Match" = String, Header, description = "Its ETag, or `*`", example = "*"),
    ),
    request_body(content = ZonePatch, example = json!({"on_missing": "ask-public", "networks": null})),
    responses((status = 200, description = "As it is now; for `dry_run` the plan", body = ZoneView)),
)]
async fn change(
    State(ledger): State<Arc<Ledger>>,
    who: Who,
    Path(zone): Path<String>,
    Query(dry_run): Query<DryRun>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let apex = zone_of(&zone)?;
    let conditions = preconditions(&headers)?;
    let bytes = body::read(request, &["application/json", "application/merge-patch+json"]).await?;
    let patch: ZonePatch = body::parse(&bytes)?;
    who.identity.may_change(&Subject::Zone(apex.clone()))?;
    let view = view_of(&ledger, &apex)?;
    let stored = ledger.written().read().zone(&apex).map(|(stored, _)| stored.clone());
    let is_made = stored.as_ref().is_some_and(|stored| matches!(stored.made, Made::ByRest(_)));
    let mut zone = stored.unwrap_or(StoredZone {
        apex: apex.clone(),
        made: Made::Elsewhere,
        on_missing: None,
        networks: None,
    });
    if let Some(on_missing) = patch.on_missing {
        zone.on_missing = on_missing.map(OnMissing::from);
    }
    if let Some(names) = patch.networks {
        zone.networks = names.as_deref().map(networks).transpose()?;
    }
    check_public_suffix(&ledger, &apex, view.kind.into(), zone.on_missing)?;
    let is_bare = zone.on_missing.is_none() && zone.networks.is_none();
    let change = match is_made || !is_bare {
        true => StoredChange::Put(Entry::Zone(zone)),
        // Nothing is set any more: the zone is as config makes it.
        false if ledger.written().read().zone(&apex).is_some() => {
            StoredChange::Remove(Subject::Zone(apex.clone()))
        }
        false => {
            conditions.check(view.etag.as_ref(), Need::Required)?;
            return Ok(tagged(StatusCode::OK, view.etag.as_ref(), &view));
        }
    };
    let edit = Edit { change, place: FieldPath::Path, conditions, need: Need::Required };
    let write = Write { who, edits: vec![edit], comment: None, mode: dry_run.mode(), once: None };
    if let WriteOutcome::Planned(plan) = ledger.write(write).await? {
        return Ok(axum::Json(plan).into_response());
    }
    let view = view_of(&ledger, &apex)?;
    Ok(tagged(StatusCode::OK, view.etag.as_ref(), &view))
}

/// Takes a zone away with all that operators wrote in it. What config makes goes by config only.
#[utoipa::path(
    delete, path = "/zones/{zone}", tag = "zones",
    params(
        ("zone" = String, Path, description = "Its name", example = "corp.internal"),
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("If-Match" = String, Header, description = "Its ETag, or `*`", example = "*"),
    ),
    responses((status = 204, description = "It is gone"), (status = 200, description = "The plan, for `dry_run`", body = Plan)),
)]
async fn remove(
    State(ledger): State<Arc<Ledger>>,
    who: Who,
    Path(zone): Path<String>,
    Query(dry_run): Query<DryRun>,
    conditions: Preconditions,
) -> Result<Response, Problem> {
    let apex = zone_of(&zone)?;
    who.identity.may_change(&Subject::Zone(apex.clone()))?;
    let view = view_of(&ledger, &apex)?;
    if view.made_by != MadeBy::Rest {
        let detail = "config, the catalogue or sync makes this zone: take it out of config; PATCH with `null` takes \
                      back what was set by this API, DELETE of a record set what was written";
        return Err(Problem::new(Kind::Conflict, detail).at("zone"));
    }
    let clear = Edit {
        change: StoredChange::ClearZone(apex.clone()),
        place: FieldPath::Path,
        conditions: Preconditions::default(),
        need: Need::Optional,
    };
    let change = StoredChange::Remove(Subject::Zone(apex));
    let edit = Edit { change, place: FieldPath::Path, conditions, need: Need::Required };
    let write = Write { who, edits: vec![clear, edit], comment: None, mode: dry_run.mode(), once: None };
    match ledger.write(write).await? {
        WriteOutcome::Planned(plan) => Ok(axum::Json(plan).into_response()),
        WriteOutcome::Done(_) | WriteOutcome::Replayed(..) => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
