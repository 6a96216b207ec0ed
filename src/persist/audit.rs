//! Who changed what, when and from where: pages of it, newest first.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::coding::{self, Key};
use super::database::{Connection, Row, Value};
use super::entry::Source;
use super::error::PersistError;
use super::tables;
use crate::dns::{Name, RecordType};

/// Changes of one page at most.
pub const AUDIT_PAGE_MAX: usize = 1_000;
/// Items that a page shows of each change; the others are asked for by [`super::Persist::audit_items`].
pub const AUDIT_ITEMS_SHOWN: usize = 20;

/// Which changes are asked for; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub zone: Option<Name>,
    pub name: Option<Name>,
    pub rtype: Option<RecordType>,
    pub actor: Option<String>,
    pub source: Option<Source>,
    /// Only changes before this revision: the last one of the page before.
    pub before: Option<u64>,
    /// Only changes since then.
    pub since: Option<SystemTime>,
    pub limit: usize,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub revision: u64,
    pub at: SystemTime,
    pub source: Source,
    pub actor: String,
    pub remote: Option<IpAddr>,
    pub request_id: Option<String>,
    pub comment: Option<String>,
    pub serials: Vec<(Name, u32)>,
    /// How many things it changed.
    pub items_total: u64,
    /// The first of them.
    pub items: Vec<AuditItem>,
}

/// One thing that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditItem {
    pub position: u64,
    /// `zone`, `record-set`, `forwarder`, `token`, `document`, `zone-contents`, `note`.
    pub kind: &'static str,
    pub zone: Option<Name>,
    /// Of a record set and a note a domain name, of a forwarder its domain, of tokens and documents their own.
    pub name: Option<String>,
    pub rtype: Option<RecordType>,
    /// JSON, like `after`; `None` where there was nothing.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A page of changes; the caller's transaction makes it one revision.
pub(super) async fn page(
    connection: &mut Connection,
    filter: &AuditFilter,
) -> Result<Vec<AuditEntry>, PersistError> {
    let mut sql = String::from(
        "SELECT revision, at_ms, source, actor, remote, request_id, comment, serials, items FROM changes AS c \
         WHERE TRUE",
    );
    let mut values = Vec::new();
    let mut only = |condition: &str, value: Value| {
        values.push(value);
        sql += &format!(" AND {}", condition.replace('?', &format!("${}", values.len())));
    };
    if let Some(before) = filter.before {
        only("c.revision < ?", Value::Int(i64::try_from(before).unwrap_or(i64::MAX)));
    }
    if let Some(since) = filter.since {
        only("c.at_ms >= ?", Value::Int(super::time::unix_ms(since)));
    }
    if let Some(actor) = &filter.actor {
        only("c.actor = ?", Value::text(actor.as_str()));
    }
    if let Some(source) = filter.source {
        only("c.source = ?", Value::text(source.as_str()));
    }
    let texts = [
        ("zone", filter.zone.as_ref().map(Name::to_string)),
        ("name", filter.name.as_ref().map(Name::to_string)),
        ("type", filter.rtype.map(super::coding::type_text)),
    ];
    if texts.iter().any(|(_, text)| text.is_some()) {
        sql += " AND c.revision IN (SELECT i.revision FROM change_items AS i WHERE TRUE";
        for (column, text) in texts {
            let Some(text) = text else { continue };
            values.push(Value::text(text));
            sql += &format!(" AND i.{column} = ${}", values.len());
        }
        sql.push(')');
    }
    values.push(Value::Int(filter.limit.clamp(1, AUDIT_PAGE_MAX) as i64));
    sql += &format!(" ORDER BY c.revision DESC LIMIT ${}", values.len());
    let mut entries = Vec::new();
    for row in connection.rows(sql, values).await? {
        entries.push(read_entry(&row)?);
    }
    for entry in &mut entries {
        entry.items = items(connection, entry.revision, 0, AUDIT_ITEMS_SHOWN).await?;
    }
    Ok(entries)
}

/// What a change changed, from a position on.
pub(super) async fn items(
    connection: &mut Connection,
    revision: u64,
    from: u64,
    limit: usize,
) -> Result<Vec<AuditItem>, PersistError> {
    let sql = "SELECT position, kind, zone, name, type, before, after FROM change_items \
               WHERE revision = $1 AND position >= $2 ORDER BY position LIMIT $3";
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let limit = limit.clamp(1, AUDIT_PAGE_MAX) as i64;
    let rows = connection.rows(sql, vec![number(revision), number(from), Value::Int(limit)]).await?;
    rows.iter().map(read_item).collect()
}

fn read_entry(row: &Row) -> Result<AuditEntry, PersistError> {
    Ok(AuditEntry {
        revision: row.count(0)?,
        at: UNIX_EPOCH + Duration::from_millis(row.count(1)?),
        source: Source::parse(&row.text(2)?)?,
        actor: row.text(3)?,
        remote: row.maybe_text(4)?.and_then(|text| text.parse().ok()),
        request_id: row.maybe_text(5)?,
        comment: row.maybe_text(6)?,
        serials: coding::serials_from_json(&row.text(7)?)?,
        items_total: row.count(8)?,
        items: Vec::new(),
    })
}

fn read_item(row: &Row) -> Result<AuditItem, PersistError> {
    let key: Key = tables::read_key(row, 1)?;
    let zone = (!key.zone.is_empty()).then(|| key.name_of(&key.zone)).transpose()?;
    let rtype = (!key.rtype.is_empty()).then(|| key.rtype.parse().map_err(|error| key.damaged(error)));
    Ok(AuditItem {
        position: row.count(0)?,
        kind: key.kind.as_str(),
        zone,
        rtype: rtype.transpose()?,
        before: row.maybe_text(5)?,
        after: row.maybe_text(6)?,
        name: (!key.name.is_empty()).then(|| key.name.to_string()),
    })
}
