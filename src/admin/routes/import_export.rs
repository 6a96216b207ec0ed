//! `/zones/{zone}/export` and `/zones/{zone}/import`: a zone as a master file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::changes::Changed;
use super::owned::{Owned, once, zone_of};
use crate::admin::body;
use crate::admin::extract::MaybeKey;
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::admin::side::SideWork;
use crate::dns::{Name, RecordSet, RecordType, Ttl};
use crate::ledger::edit::{Edit, Faults, FieldPath};
use crate::ledger::etag::{Need, Preconditions};
use crate::ledger::view::OriginWord;
use crate::ledger::{FoundZone, Ledger, Mode, Plan, Who, Write, WriteOutcome, WrittenState};
use crate::persist::{Entry, StoredChange, Subject};
use crate::telemetry::Quoted;
use crate::zone::{MasterFile, Origin, Snapshot, ViewId, write_master_file};

/// What a line takes beside its text and its edit.
const LINE_BYTES: usize = 256;

/// The media type of master files (RFC 4027).
const TEXT_DNS: &str = "text/dns";

pub(super) fn routes() -> OpenApiRouter<Owned> {
    OpenApiRouter::new().routes(routes!(export)).routes(routes!(import))
}

/// What is exported.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// As this network is served; without it as clients outside all networks are.
    network: Option<String>,
    /// Only what comes from there; `rest` is what operators wrote.
    #[param(inline)]
    origin: Option<OriginWord>,
}

/// A zone as a master file: what is served.
///
/// An import of it changes nothing. With `origin=rest` it is what operators wrote.
#[utoipa::path(
    get, path = "/zones/{zone}/export", tag = "zones",
    params(("zone" = String, Path, description = "The zone's name", example = "corp.internal"), ExportQuery),
    responses((status = 200, description = "The master file", body = String, content_type = "text/dns")),
)]
async fn export(
    State(ledger): State<Arc<Ledger>>,
    State(side): State<Arc<SideWork>>,
    Path(zone): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let apex = zone_of(&zone)?;
    let snapshot = ledger.store().snapshot();
    let zone = snapshot.zone(apex.borrow()).cloned().ok_or_else(|| FoundZone::none(&apex, ""))?;
    let view = match &query.network {
        None => ViewId::NONE,
        Some(name) => snapshot
            .networks()
            .view_named(name)
            .ok_or_else(|| Problem::invalid("network", format!("there is no network `{}`", Quoted(name))))?,
    };
    let place = side.export().await;
    let write = move || {
        let sets = zone.nodes().flat_map(|(owner, node)| {
            let served = node.slots().iter().map(move |slot| (owner, slot.served(view)));
            let wanted =
                served.filter(|(_, offer)| query.origin.is_none_or(|it| OriginWord::of(&offer.origin) == it));
            wanted.map(|(owner, offer)| (owner.to_name(), offer.set.clone()))
        });
        let mut text = String::new();
        write_master_file(zone.apex(), sets, &mut text).expect("a String takes all text");
        text
    };
    let text = side.scan(write).await?;
    Ok(place.until_sent(([(CONTENT_TYPE, TEXT_DNS)], text).into_response()))
}

/// How a file is imported.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ImportQuery {
    /// What happens to operators' record sets that the file does not have.
    #[param(inline)]
    mode: Option<ImportMode>,
    /// Answers the plan, and does nothing.
    dry_run: Option<bool>,
}

/// What happens to what the file does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ImportMode {
    /// It is taken back: the file is all that operators say of this zone.
    #[default]
    Replace,
    /// It stays.
    Merge,
}

/// Makes a master file's records operators' own, all or none. What others serve just so is left to them, and so is a
/// SOA record that differs in its serial only.
#[utoipa::path(
    post, path = "/zones/{zone}/import", tag = "zones",
    params(
        ("zone" = String, Path, description = "The zone's name", example = "corp.internal"), ImportQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Done once, however often it is sent"),
    ),
    request_body(
        content = String, content_type = "text/dns",
        example = json!("$TTL 300\nwww IN A 10.0.0.4\napi IN CNAME www\n@ IN MX 10 mail\nmail IN A 10.0.0.9\n"),
    ),
    responses((status = 200, description = "All is stored and served; for `dry_run` the plan", body = Changed)),
)]
#[expect(clippy::too_many_arguments, reason = "each is an extractor")]
async fn import(
    State(ledger): State<Arc<Ledger>>,
    who: Who,
    Path(zone): Path<String>,
    Query(query): Query<ImportQuery>,
    MaybeKey(key): MaybeKey,
    OriginalUri(uri): OriginalUri,
    method: Method,
    request: Request,
) -> Result<Response, Problem> {
    let apex = zone_of(&zone)?;
    // To the end of the request: what is read waits for its turn to be stored.
    let memory = body::memory(request.extensions());
    let bytes = body::read(request, &[TEXT_DNS, "text/plain"]).await?;
    who.identity.may_change(&Subject::Zone(apex.clone()))?;
    let once = once(key, &who, &method, &uri, &bytes, &json!({}));
    let (reader, own) = (ledger.clone(), Arc::clone(&memory));
    let read = move || {
        own.take(memory_read(&bytes))?;
        let text = str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Problem::invalid(format!("line {line}"), "it has bytes that are not UTF-8; write them as \\DDD")
        })?;
        let sets = sets_of(text, &apex)?;
        // First what is written, then what is served: see `Written`.
        let state = reader.written().read();
        let snapshot = reader.store().snapshot();
        if FoundZone::of(&apex, &state, &snapshot).served.is_none() {
            return Err(Problem::from(FoundZone::none(&apex, "; POST /api/v1/zones makes one")));
        }
        Ok(edits_of(sets, &apex, query.mode.unwrap_or_default(), &state, &snapshot))
    };
    let edits = ledger.prepare(read).await??;
    let mode = if query.dry_run == Some(true) { Mode::DryRun } else { Mode::Do };
    let write = Write { who, edits, comment: Some("import".into()), mode, once };
    let outcome = ledger.write(write).await?;
    drop(memory);
    Ok(match outcome {
        WriteOutcome::Planned(plan) => axum::Json::<Plan>(plan).into_response(),
        WriteOutcome::Done(receipt) | WriteOutcome::Replayed(receipt, _) => {
            axum::Json(Changed::of(receipt)).into_response()
        }
    })
}

/// Bytes that the lines of a file take about when they are read: an entry, its place among the sets, and an edit, each
/// with its name and data.
fn memory_read(body: &[u8]) -> usize {
    let lines = 1 + body.iter().filter(|byte| **byte == b'\n').count();
    body.len() + lines * (size_of::<Edit>() + LINE_BYTES)
}

/// The record sets of a file, each with the line that it begins on.
type Sets = BTreeMap<(Name, RecordType), (usize, RecordSet)>;

/// A set's first line, least lifetime and data.
type Lines = (usize, Ttl, Vec<Vec<u8>>);

fn sets_of(text: &str, apex: &Name) -> Result<Sets, Problem> {
    let mut faults = Faults::default();
    let file = match MasterFile::parse(text, FilePath::new("import"), apex) {
        Ok(file) => file,
        Err(all) => {
            for error in all.errors {
                let field = error.line.map_or_else(|| "body".to_owned(), |line| format!("line {line}"));
                faults.add(field, Quoted(&error.fault.to_string()));
            }
            faults.check()?;
            return Ok(Sets::new());
        }
    };
    for warning in &file.warnings {
        tracing::warn!(zone.apex = %apex, "An imported master file: {warning}");
    }
    let mut lines: BTreeMap<(Name, RecordType), Lines> = BTreeMap::new();
    for entry in file.entries {
        let (_, ttl, data) =
            lines.entry((entry.owner, entry.rtype)).or_insert((entry.line, entry.ttl, Vec::new()));
        // RFC 2181 §5.2: a set has one lifetime.
        *ttl = (*ttl).min(entry.ttl);
        data.push(entry.data);
    }
    let mut sets = Sets::new();
    for ((name, rtype), (line, ttl, data)) in lines {
        match RecordSet::new(rtype, ttl, data) {
            Ok(set) => {
                sets.insert((name, rtype), (line, set));
            }
            Err(error) => faults.add(format!("line {line}"), error),
        }
    }
    faults.check()?;
    Ok(sets)
}

/// What makes operators' record sets those of the file.
fn edits_of(
    sets: Sets,
    apex: &Name,
    mode: ImportMode,
    state: &WrittenState,
    snapshot: &Snapshot,
) -> Vec<Edit> {
    let edit = |change, line| Edit {
        change,
        place: FieldPath::Line(line),
        conditions: Preconditions::default(),
        need: Need::Optional,
    };
    let zone = snapshot.zone(apex.borrow());
    let served = |name: &Name, rtype: RecordType| {
        let slot = zone?.node(name.borrow())?.slot(rtype)?;
        Some(slot.served(ViewId::NONE))
    };
    let mut edits = Vec::new();
    let mut kept: BTreeSet<(Name, RecordType)> = BTreeSet::new();
    for ((name, rtype), (line, set)) in sets {
        let own = state.set(apex, &name, rtype);
        let is_others = own.is_none()
            && served(&name, rtype)
                .is_some_and(|offer| offer.origin != Origin::Rest && is_same(&offer.set, &set));
        if own.is_some() {
            kept.insert((name.clone(), rtype));
        }
        if is_others || own.is_some_and(|own| own.set == set) {
            continue;
        }
        edits.push(edit(StoredChange::Put(Entry::RecordSet { zone: apex.clone(), name, set }), line));
    }
    if mode == ImportMode::Replace {
        let gone = state.sets(apex).map(|(key, _)| key).filter(|key| !kept.contains(key));
        edits.extend(gone.map(|(name, rtype)| {
            let subject = Subject::RecordSet { zone: apex.clone(), name, rtype };
            edit(StoredChange::Remove(subject), 0)
        }));
    }
    edits
}

/// Whether two sets say the same; of SOA records the serial does not count.
fn is_same(one: &RecordSet, other: &RecordSet) -> bool {
    let without_serial = |set: &RecordSet| {
        let data = set.records().next().map(<[u8]>::to_vec)?;
        let at = data.len().checked_sub(20)?;
        Some([&data[..at], &data[at + 4..]].concat())
    };
    match one.rtype {
        RecordType::SOA => one.ttl == other.ttl && without_serial(one) == without_serial(other),
        _ => one == other,
    }
}
