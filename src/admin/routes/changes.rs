//! `/changes`: many changes at once, all or none; and who changed what.

use std::sync::Arc;

use axum::extract::{OriginalUri, Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::owned::{Owned, type_of, zone_of};
use super::posted::Posted;
use crate::admin::body;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::{Kind, Problem};
use crate::admin::query::Query;
use crate::dns::Name;
use crate::ledger::edit::{self, Edit, Faults, FieldPart, FieldPath, RecordSetBody};
use crate::ledger::etag::{Need, Preconditions};
use crate::ledger::{Ledger, Plan, Receipt, Refusal, WriteOutcome};
use crate::persist::{
    AUDIT_PAGE_MAX, AuditEntry, AuditFilter, AuditItem, CHANGES_IN_COMMIT_MAX, Entry, Source, StoredChange,
    Subject,
};
use crate::telemetry::when;

/// What a short string takes beside its text: itself, and the least that an allocation takes.
const STRING_BYTES: usize = size_of::<String>() + 32;

/// Beyond these, changes take milliseconds to read, in which other tasks of the thread would stand still.
const READ_HERE_BYTES_MAX: usize = 64 << 10;

pub(super) fn routes() -> OpenApiRouter<Owned> {
    OpenApiRouter::new().routes(routes!(list, write)).routes(routes!(read))
}

/// Changes that belong together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changes {
    /// Why; kept with the changes.
    #[schema(example = "move the web servers")]
    comment: Option<String>,
    /// Of any number of zones; each name and type once.
    changes: Vec<OneChange>,
}

/// A record set to be written or taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OneChange {
    action: ChangeAction,
    #[schema(example = "corp.internal")]
    zone: String,
    /// Relative to the zone, `@` for its apex; or absolute, with a final dot.
    #[schema(example = "www")]
    name: String,
    #[serde(rename = "type")]
    #[schema(example = "A")]
    rtype: String,
    /// Of `put`: seconds.
    #[schema(example = 300)]
    ttl: Option<i64>,
    /// Of `put`: record data in master-file form.
    records: Option<Vec<String>>,
    /// Only from this state: an ETag, or `*` for any.
    if_match: Option<String>,
    /// `*`: only if nothing is there.
    if_none_match: Option<String>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ChangeAction {
    Put,
    Delete,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    #[schema(example = 17)]
    revision: u64,
    /// The new serials of the zones that changed.
    #[schema(value_type = Object, example = json!({"corp.internal.": 5}))]
    serials: Value,
    /// What is stored but not served, and why; empty unless another instance's change came between.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_served: Vec<NotServed>,
}

/// Something that is stored, but not served.
#[derive(Debug, Serialize, ToSchema)]
struct NotServed {
    what: String,
    why: String,
}

impl Changed {
    pub(super) fn of(receipt: Receipt) -> Changed {
        let serials = receipt.serials.iter().map(|(zone, serial)| (zone.to_string(), json!(serial)));
        let not_served = receipt.not_served.iter();
        let not_served =
            not_served.map(|(subject, why)| NotServed { what: subject.to_string(), why: why.to_string() });
        Changed {
            revision: receipt.revision,
            serials: Value::Object(serials.collect()),
            not_served: not_served.collect(),
        }
    }
}

/// Writes and takes back record sets of any number of zones, all or none.
///
/// A change is bound to a state by `if_match` and `if_none_match`, if they are given. The answer is the revision of all of
/// it, and the new serials of the zones.
#[utoipa::path(
    post, path = "/changes", tag = "changes",
    params(
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "Done once, however often it is sent"),
    ),
    request_body(content = Changes, example = json!({
        "comment": "move the web servers",
        "changes": [
            {"action": "put", "zone": "corp.internal", "name": "web1", "type": "A", "ttl": 300, "records": ["10.0.0.7"]},
            {"action": "put", "zone": "corp.internal", "name": "web", "type": "CNAME", "ttl": 300, "records": ["web1"]},
        ],
    })),
    responses((status = 200, description = "All is stored and served; for `dry_run` the plan", body = Changed)),
)]
async fn write(State(ledger): State<Arc<Ledger>>, posted: Posted) -> Result<Response, Problem> {
    let bytes = posted.bytes.clone();
    let is_large = bytes.len() > READ_HERE_BYTES_MAX;
    // To the end of the request: what is read waits for its turn to be stored.
    let memory = Arc::clone(&posted.memory);
    let own = Arc::clone(&memory);
    let read = move || {
        own.take(memory_read(&bytes))?;
        let Changes { comment, changes } = body::parse(&bytes)?;
        Ok::<_, Problem>((edit::comment(comment.as_deref())?, edits(changes)?))
    };
    let (comment, edits) = if is_large { ledger.prepare(read).await?? } else { read()? };
    let outcome = ledger.write(posted.write(edits, comment, &json!({}))).await?;
    drop(memory);
    Ok(match outcome {
        WriteOutcome::Planned(plan) => axum::Json::<Plan>(plan).into_response(),
        WriteOutcome::Done(receipt) | WriteOutcome::Replayed(receipt, _) => {
            axum::Json(Changed::of(receipt)).into_response()
        }
    })
}

/// Bytes that changes take at most when they are read: each object is a change and an edit, each value a string.
// Punctuation within strings counts, too: it makes the bound higher, never lower.
fn memory_read(body: &[u8]) -> usize {
    let count = |wanted: &[u8]| body.iter().filter(|byte| wanted.contains(byte)).count();
    let objects = count(b"{");
    let values = objects + count(b"[,");
    body.len() + objects * (size_of::<OneChange>() + size_of::<Edit>()) + values * STRING_BYTES
}

fn edits(changes: Vec<OneChange>) -> Result<Vec<Edit>, Problem> {
    if changes.is_empty() {
        return Err(Problem::invalid("/changes", "there is nothing to change"));
    }
    if changes.len() > CHANGES_IN_COMMIT_MAX {
        let detail = format!("one request has at most {CHANGES_IN_COMMIT_MAX} changes; send several");
        return Err(Problem::new(Kind::TooLarge, detail).at("/changes"));
    }
    let mut faults = Faults::default();
    let mut edits = Vec::with_capacity(changes.len());
    let mut last: Option<(String, Name)> = None;
    for (index, one) in changes.into_iter().enumerate() {
        if faults.is_full() {
            break;
        }
        // Zones come in runs: one name is then kept once.
        let zone = match &last {
            Some((text, zone)) if *text == one.zone => Ok(zone.clone()),
            _ => edit::zone_name(&one.zone),
        };
        if let Ok(zone) = &zone {
            last = Some((one.zone.clone(), zone.clone()));
        }
        edits.extend(edit_of(one, zone, FieldPath::Item(index), &mut faults));
    }
    faults.check()?;
    Ok(edits)
}

fn edit_of(
    one: OneChange,
    zone: Result<Name, String>,
    place: FieldPath,
    faults: &mut Faults,
) -> Option<Edit> {
    let zone = zone.map_err(|why| faults.add(place.field(FieldPart::Zone), why)).ok();
    let rtype =
        edit::record_type(&one.rtype).map_err(|why| faults.add(place.field(FieldPart::Type), why)).ok();
    let name = zone.as_ref().and_then(|zone| {
        edit::owner(&one.name, zone).map_err(|why| faults.add(place.field(FieldPart::Name), why)).ok()
    });
    let conditions = Preconditions::of_texts(one.if_match.as_deref(), one.if_none_match.as_deref());
    let conditions = conditions.map_err(|why| faults.add(place.field(FieldPart::IfMatch), why)).ok();
    let change = match one.action {
        ChangeAction::Put => {
            if one.ttl.is_none() {
                faults.add(place.field(FieldPart::Ttl), "`put` needs a TTL in seconds");
            }
            if one.records.is_none() {
                faults.add(place.field(FieldPart::Records), "`put` needs records");
            }
            let body = RecordSetBody { ttl: one.ttl?, records: one.records? };
            let zone = zone?;
            let set = edit::record_set(&zone, rtype?, &body, place, faults)?;
            StoredChange::Put(Entry::RecordSet { zone, name: name?, set })
        }
        ChangeAction::Delete => {
            if one.ttl.is_some() {
                faults.add(place.field(FieldPart::Ttl), "`delete` has no TTL: it takes the whole set back");
            }
            if one.records.is_some() {
                faults.add(
                    place.field(FieldPart::Records),
                    "`delete` has no records: it takes the whole set back",
                );
            }
            StoredChange::Remove(Subject::RecordSet { zone: zone?, name: name?, rtype: rtype? })
        }
    };
    Some(Edit { change, place, conditions: conditions?, need: Need::Optional })
}

/// Which changes are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ChangesQuery {
    /// Changes in this zone.
    #[param(example = "corp.internal")]
    zone: Option<String>,
    /// Changes of this name: absolute, or relative to `zone`.
    #[param(example = "www")]
    name: Option<String>,
    #[serde(rename = "type")]
    #[param(example = "A")]
    rtype: Option<String>,
    /// Who changed it.
    actor: Option<String>,
    #[param(inline)]
    source: Option<SourceWord>,
    /// Changes since then.
    #[param(example = "2026-07-01T00:00:00Z")]
    since: Option<String>,
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// Where a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SourceWord {
    Rest,
    Sync,
    File,
}

/// One change of the audit.
#[derive(Debug, Serialize, ToSchema)]
struct ChangeView {
    revision: u64,
    #[schema(example = "2026-07-01T12:01:09.120Z")]
    at: String,
    source: SourceWord,
    /// Who.
    actor: String,
    /// From where.
    remote: Option<String>,
    request_id: Option<String>,
    comment: Option<String>,
    #[schema(value_type = Object)]
    serials: Value,
    /// How many things it changed.
    items_total: u64,
    /// The first of them; `GET /changes/{revision}` has all.
    items: Vec<ItemView>,
}

/// One thing that was changed.
#[derive(Debug, Serialize, ToSchema)]
struct ItemView {
    position: u64,
    /// `zone`, `record-set`, `forwarder`, `token`, `document`, `zone-contents`, or `note`: a change by sync or a file,
    /// or what was refused to someone.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    rtype: Option<String>,
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

/// Who changed what, when and from where; newest first. What was refused is there too.
#[utoipa::path(
    get, path = "/changes", tag = "changes", params(ChangesQuery),
    responses((status = 200, description = "A page of changes", body = Page<ChangeView>)),
)]
async fn list(
    State(ledger): State<Arc<Ledger>>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ChangesQuery>,
) -> Result<Response, Problem> {
    let zone = query.zone.as_deref().map(zone_of).transpose()?;
    let name = query.name.as_deref().map(|text| {
        let root = Name::root();
        Name::parse(text, zone.as_ref().unwrap_or(&root).borrow())
            .map_err(|error| Problem::invalid("name", format!("this is no name: {error}")))
    });
    let since = query.since.as_deref().map(|text| {
        when::parse(text)
            .ok_or_else(|| Problem::invalid("since", "this is no time such as 2026-07-01T00:00:00Z"))
    });
    let mut filter = AuditFilter {
        zone,
        name: name.transpose()?,
        rtype: query.rtype.as_deref().map(type_of).transpose()?,
        actor: query.actor.clone(),
        source: query.source.map(Source::from),
        since: since.transpose()?,
        ..AuditFilter::default()
    };
    let source = query.source.map(|source| format!("{source:?}"));
    let filter_id = filter_id(&[
        Some("changes"),
        query.zone.as_deref(),
        query.name.as_deref(),
        query.rtype.as_deref(),
        query.actor.as_deref(),
        source.as_deref(),
        query.since.as_deref(),
    ]);
    let after = query.after.as_ref().map(|after| {
        let revision = after.key(filter_id).and_then(|key| key.parse().ok());
        revision.ok_or_else(|| Problem::invalid("after", "this token is of a list with other filters"))
    });
    filter.before = after.transpose()?;
    let limit = query.limit.unwrap_or_default();
    let mut entries = Vec::new();
    // The store's pages are as long as ours at most, and ours are asked for with one more.
    while entries.len() < limit.with_one_more() {
        filter.limit = (limit.with_one_more() - entries.len()).min(AUDIT_PAGE_MAX);
        let found = ledger.persist().audit(&filter).await.map_err(|error| Refusal::from(&error))?;
        let is_last = found.len() < filter.limit;
        filter.before = found.last().map(|entry| entry.revision);
        entries.extend(found);
        if is_last {
            break;
        }
    }
    let items = entries.into_iter().map(ChangeView::of).collect();
    Ok(Page::of(items, limit, filter_id, |view: &ChangeView| view.revision.to_string()).answer(&uri))
}

/// The parameters of one change.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ItemsQuery {
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// All that one change changed.
///
/// With what was there `before` and `after`, in the order in which it was written.
#[utoipa::path(
    get, path = "/changes/{revision}", tag = "changes",
    params(("revision" = u64, Path, description = "As `revision` of the list", example = 1), ItemsQuery),
    responses((status = 200, description = "A page of what it changed", body = Page<ItemView>)),
)]
async fn read(
    State(ledger): State<Arc<Ledger>>,
    Path(revision): Path<String>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ItemsQuery>,
) -> Result<Response, Problem> {
    let wrong = || Problem::invalid("revision", "a revision is a number");
    let revision: u64 = revision.parse().ok().filter(|it| i64::try_from(*it).is_ok()).ok_or_else(wrong)?;
    let shown = revision.to_string();
    let filter_id = filter_id(&[Some("items"), Some(&shown)]);
    let from = query.after.as_ref().map(|after| {
        let position: Option<u64> = after.key(filter_id).and_then(|key| key.parse().ok());
        position.ok_or_else(|| Problem::invalid("after", "this token is of another list"))
    });
    let from = from.transpose()?.map_or(0, |position| position.saturating_add(1));
    let limit = query.limit.unwrap_or_default();
    let mut items: Vec<ItemView> = Vec::new();
    while items.len() < limit.with_one_more() {
        let wanted = (limit.with_one_more() - items.len()).min(AUDIT_PAGE_MAX);
        let begin = items.last().map_or(from, |last| last.position.saturating_add(1));
        let found = ledger.persist().audit_items(revision, begin, wanted).await;
        let found = found.map_err(|error| Refusal::from(&error))?;
        let is_last = found.len() < wanted;
        items.extend(found.into_iter().map(ItemView::of));
        if is_last {
            break;
        }
    }
    if items.is_empty() && from == 0 {
        let detail = format!("there is no change {revision}, or it is forgotten by now");
        return Err(Problem::new(Kind::NotFound, detail).at("revision"));
    }
    Ok(Page::of(items, limit, filter_id, |item| item.position.to_string()).answer(&uri))
}

impl ChangeView {
    fn of(entry: AuditEntry) -> ChangeView {
        let serials = entry.serials.iter().map(|(zone, serial)| (zone.to_string(), json!(serial)));
        ChangeView {
            revision: entry.revision,
            at: when::rfc3339(entry.at),
            source: entry.source.into(),
            actor: entry.actor,
            remote: entry.remote.map(|remote| remote.to_string()),
            request_id: entry.request_id,
            comment: entry.comment,
            serials: Value::Object(serials.collect()),
            items_total: entry.items_total,
            items: entry.items.into_iter().map(ItemView::of).collect(),
        }
    }
}

impl ItemView {
    fn of(item: AuditItem) -> ItemView {
        // What the store holds is JSON; were it not, it is shown as it is.
        let read = |text: Option<String>| {
            text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
        };
        ItemView {
            position: item.position,
            kind: item.kind,
            zone: item.zone.map(|zone| zone.to_string()),
            name: item.name,
            rtype: item.rtype.map(|rtype| rtype.to_string()),
            before: read(item.before),
            after: read(item.after),
        }
    }
}

impl From<SourceWord> for Source {
    fn from(source: SourceWord) -> Source {
        match source {
            SourceWord::Rest => Source::Rest,
            SourceWord::Sync => Source::Sync,
            SourceWord::File => Source::File,
        }
    }
}

impl From<Source> for SourceWord {
    fn from(source: Source) -> SourceWord {
        match source {
            Source::Rest => SourceWord::Rest,
            Source::Sync => SourceWord::Sync,
            Source::File => SourceWord::File,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Limits;

    #[test]
    fn as_many_changes_as_may_be_have_the_memory_and_what_would_grow_has_not() {
        let change = json!({
            "action": "put", "zone": "corp.internal", "name": "web-123456", "type": "A", "ttl": 300,
            "records": ["10.0.0.123"],
        });
        let typical = memory_read(format!("{change},").as_bytes()) * CHANGES_IN_COMMIT_MAX;
        let max = Limits::default().bodies_bytes;
        assert!(typical < max, "{typical}");
        let body = format!(r#"{{"records":[{}""]}}"#, r#""","#.repeat(10_000));
        assert!(memory_read(body.as_bytes()) > 10_001 * STRING_BYTES);
    }
}
