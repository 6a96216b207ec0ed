//! The statements on the tables, many rows at a time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use super::coding::{self, Coded, Key, Kind};
use super::database::{Bound, Connection, Dialect, Row, Value};
use super::decide::{Held, Item, Known, OwnerKey, Prepared, Request, RequestKey};
use super::entry::{Audit, Change, Committed, Source, Stored};
use super::error::PersistError;

/// Rows of one statement, the largest that fits first: few texts, so that each is prepared once.
// 512 rows of nine values stay below SQLite's 32,766.
const ROWS_AT_ONCE: [usize; 4] = [512, 64, 8, 1];

/// Keys of one group beyond which it is asked first whether a zone has any.
const KEYS_MANY: usize = 512;

/// A change with who made it, as it is written.
pub(super) struct Written<'a> {
    pub change: &'a Change,
    pub audit: &'a Audit,
    pub items: Vec<Item>,
}

/// The newest revision.
pub(super) async fn revision(connection: &mut Connection) -> Result<u64, PersistError> {
    let rows = connection.rows("SELECT revision FROM counter", Vec::new()).await?;
    rows.first().map_or(Ok(0), |row| row.count(0))
}

/// Milliseconds since 1970 as SQL: instances may disagree about the time, their database has one.
pub(super) fn now_ms_sql(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        Dialect::Postgres => "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    }
}

/// What time the database has.
pub(super) async fn now_ms(connection: &mut Connection) -> Result<i64, PersistError> {
    let sql = format!("SELECT {}", now_ms_sql(connection.dialect()));
    let rows = connection.rows(sql, Vec::new()).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// Reads what a group of commits must know.
pub(super) async fn known(connection: &mut Connection, group: &[&Prepared]) -> Result<Known, PersistError> {
    let dialect = connection.dialect();
    let sql = format!("SELECT revision, {} FROM counter", now_ms_sql(dialect));
    let mut known = Known::default();
    if let Some(row) = connection.rows(sql, Vec::new()).await?.first() {
        (known.revision, known.now_ms) = (row.count(0)?, row.int(1)?);
    }
    for key in group.iter().flat_map(|prepared| prepared.keys()) {
        if !known.entries.contains_key(key) {
            known.entries.insert(key.clone(), Held::default());
        }
    }
    let empty = empty_zones(connection, &known).await?;
    let is_asked = |zone: &Arc<str>| !empty.contains(zone);
    let mut keys: Vec<Key> = known.entries.keys().cloned().collect();
    keys.retain(|key| key.kind != Kind::RecordSet || is_asked(&key.zone));
    keys.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
    // The loops over few keys must be over the keys: SQLite keeps the order of a CROSS JOIN.
    let sql = |rows: usize| {
        format!(
            "SELECT e.kind, e.zone, e.name, e.type, e.value, \
             CASE WHEN e.kind = 'token' THEN e.body END, e.revision \
             FROM (VALUES {}) AS k CROSS JOIN entries AS e \
             WHERE e.kind = k.column1 AND e.zone = k.column2 AND e.name = k.column3 AND e.type = k.column4",
            places(dialect, rows, 4)
        )
    };
    for keys in chunks(&keys) {
        for row in connection.rows(sql(keys.len()), keys.iter().flat_map(values_of).collect()).await? {
            let (key, coded, revision) = read_entry(&row)?;
            known
                .entries
                .insert(key, Held { revision, value: Some(coded), was_there: true, is_changed: false });
        }
    }
    let owners = group.iter().flat_map(|prepared| prepared.owners());
    let owners: Vec<&OwnerKey> = owners.filter(|(zone, _)| is_asked(zone)).collect();
    let sql = |rows: usize| {
        format!(
            "SELECT e.zone, e.name, max(e.revision) FROM (VALUES {}) AS k CROSS JOIN entries AS e \
             WHERE e.kind = 'record-set' AND e.zone = k.column1 AND e.name = k.column2 GROUP BY e.zone, e.name",
            places(dialect, rows, 2)
        )
    };
    for owners in chunks(&owners) {
        let values = owners
            .iter()
            .flat_map(|(zone, name)| [Value::Text(Some(zone.clone())), Value::Text(Some(name.clone()))])
            .collect();
        for row in connection.rows(sql(owners.len()), values).await? {
            known.owners.insert((row.text(0)?.into(), row.text(1)?.into()), row.count(2)?);
        }
    }
    for (token, key) in group.iter().filter_map(|prepared| prepared.request()) {
        if let Some(request) = request(connection, &token, &key).await? {
            known.requests.insert((token, key), request);
        }
    }
    Ok(known)
}

/// Zones that a large group puts record sets into and that have none yet, so that none of these need be looked for.
async fn empty_zones(connection: &mut Connection, known: &Known) -> Result<HashSet<Arc<str>>, PersistError> {
    let mut empty = HashSet::new();
    if known.entries.len() < KEYS_MANY {
        return Ok(empty);
    }
    let zones: HashSet<&Arc<str>> =
        known.entries.keys().filter(|key| key.kind == Kind::RecordSet).map(|key| &key.zone).collect();
    if zones.len() > known.entries.len() / KEYS_MANY {
        return Ok(empty);
    }
    for zone in zones {
        let sql = "SELECT revision FROM entries WHERE kind = 'record-set' AND zone = $1 LIMIT 1";
        if connection.rows(sql, vec![Value::Text(Some(zone.clone()))]).await?.is_empty() {
            empty.insert(zone.clone());
        }
    }
    Ok(empty)
}

/// The answer that was given to a request.
pub(super) async fn request(
    connection: &mut Connection,
    token: &str,
    key: &str,
) -> Result<Option<Request>, PersistError> {
    let sql = "SELECT request_hash, revision, serials, answer, expires_ms FROM idempotency \
               WHERE token = $1 AND key = $2";
    let rows = connection.rows(sql, vec![Value::text(token), Value::text(key)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let serials = coding::serials_from_json(&row.text(2)?)?;
    Ok(Some(Request {
        hash: row.bytes(0)?.unwrap_or_default().into(),
        committed: Committed { revision: row.count(1)?, serials, replayed: None },
        answer: row.bytes(3)?.unwrap_or_default().into(),
        expires_ms: row.int(4)?,
        is_new: false,
    }))
}

/// Writes what a group of commits made.
pub(super) async fn write(
    connection: &mut Connection,
    known: Known,
    written: Vec<Written<'_>>,
) -> Result<(), PersistError> {
    let dialect = connection.dialect();
    let now_ms = known.now_ms;
    for zone in known.cleared {
        let sql = "DELETE FROM entries WHERE kind = 'record-set' AND zone = $1";
        connection.execute(sql, vec![Value::Text(Some(zone))]).await?;
    }
    let (mut gone, mut put) = (Vec::new(), Vec::new());
    for (key, held) in known.entries.into_iter().filter(|(_, held)| held.is_changed) {
        match held.value {
            Some(coded) => put.push((key, coded, held.revision)),
            None if held.was_there => gone.push(key),
            None => {}
        }
    }
    // In the order of the key: neighbours lie on one page.
    put.sort_unstable_by(|(one, ..), (other, ..)| one.order().cmp(&other.order()));
    gone.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
    // By way of a SELECT: for a bare VALUES SQLite would look at every entry there is.
    let sql = |rows| {
        format!(
            "DELETE FROM entries WHERE (kind, zone, name, type) IN \
             (SELECT column1, column2, column3, column4 FROM (VALUES {}) AS k)",
            places(dialect, rows, 4)
        )
        .into()
    };
    in_chunks(connection, gone, sql, |key, values| values.extend(values_of(&key))).await?;
    let sql = |rows| {
        let places = places(dialect, rows, 7);
        format!(
            "INSERT INTO entries (kind, zone, name, type, value, body, revision) VALUES {places} \
             ON CONFLICT (kind, zone, name, type) \
             DO UPDATE SET value = excluded.value, body = excluded.body, revision = excluded.revision"
        )
        .into()
    };
    in_chunks(connection, put, sql, |(key, coded, revision), values| {
        values.extend(into_values(key));
        values.extend([
            Value::text(coded.json),
            Value::Bytes(coded.body.map(|body| body.to_vec())),
            Value::Int(revision as i64),
        ]);
    })
    .await?;
    write_changes(connection, written, now_ms).await?;
    let new = known.requests.into_iter().filter(|(_, request)| request.is_new);
    write_requests(connection, new.collect()).await?;
    connection.execute("UPDATE counter SET revision = $1", vec![Value::Int(known.revision as i64)]).await?;
    Ok(())
}

async fn write_changes(
    connection: &mut Connection,
    written: Vec<Written<'_>>,
    now_ms: i64,
) -> Result<(), PersistError> {
    let dialect = connection.dialect();
    let mut items = Vec::new();
    let mut changes = Vec::with_capacity(written.len());
    for Written { change, audit, items: own } in written {
        changes.push((change, audit, own.len()));
        let own = own.into_iter().enumerate();
        items.extend(own.map(|(position, item)| (change.revision, position, item)));
    }
    let sql = |rows| {
        let places = places(dialect, rows, 9);
        let columns = "revision, at_ms, source, actor, remote, request_id, comment, serials, items";
        format!("INSERT INTO changes ({columns}) VALUES {places}").into()
    };
    in_chunks(connection, changes, sql, |(change, audit, items), values| {
        let remote = audit.remote.map(|remote| remote.to_string());
        values.extend([
            Value::Int(change.revision as i64),
            Value::Int(now_ms),
            Value::text(audit.source.as_str()),
            Value::text(audit.actor.clone()),
            Value::maybe_text(remote.as_deref()),
            Value::maybe_text(audit.request_id.as_deref()),
            Value::maybe_text(audit.comment.as_deref()),
            Value::text(coding::serials_to_json(&change.serials)),
            Value::Int(items as i64),
        ]);
    })
    .await?;
    let sql = |rows| {
        let places = places(dialect, rows, 9);
        let columns = "revision, position, kind, zone, name, type, before, after, body";
        format!("INSERT INTO change_items ({columns}) VALUES {places}").into()
    };
    in_chunks(connection, items, sql, |(revision, position, item), values| {
        values.extend([Value::Int(revision as i64), Value::Int(position as i64)]);
        values.extend(into_values(item.key));
        values.extend([
            item.before.map_or(Value::Text(None), Value::text),
            item.after.map_or(Value::Text(None), Value::text),
            Value::Bytes(item.body.map(|body| body.to_vec())),
        ]);
    })
    .await
}

async fn write_requests(
    connection: &mut Connection,
    requests: Vec<(RequestKey, Request)>,
) -> Result<(), PersistError> {
    let dialect = connection.dialect();
    let sql = |rows| {
        let places = places(dialect, rows, 7);
        let columns = "token, key, request_hash, revision, serials, answer, expires_ms";
        // Only one that has expired is there still.
        let replace = "request_hash = excluded.request_hash, revision = excluded.revision, \
                       serials = excluded.serials, answer = excluded.answer, expires_ms = excluded.expires_ms";
        format!(
            "INSERT INTO idempotency ({columns}) VALUES {places} ON CONFLICT (token, key) DO UPDATE SET {replace}"
        )
        .into()
    };
    in_chunks(connection, requests, sql, |((token, key), request), values| {
        values.extend([
            Value::text(token),
            Value::text(key),
            Value::bytes(&request.hash),
            Value::Int(request.committed.revision as i64),
            Value::text(coding::serials_to_json(&request.committed.serials)),
            Value::bytes(&request.answer),
            Value::Int(request.expires_ms),
        ]);
    })
    .await
}

/// Reads all that is stored; the caller's transaction makes it one revision.
pub(super) async fn load(connection: &mut Connection) -> Result<Stored, PersistError> {
    let mut stored = Stored { revision: revision(connection).await?, ..Stored::default() };
    let sql = "SELECT kind, zone, name, type, value, body, revision FROM entries";
    connection
        .each_row(sql, Vec::new(), |row| {
            let (key, coded, revision) = read_entry(&row)?;
            if key.kind == Kind::Serial {
                let serial = coded.json.parse().map_err(|error| key.damaged(error))?;
                stored.serials.push((key.name_of(&key.zone)?, serial));
            } else {
                stored.entries.push((coded.entry(&key)?, revision));
            }
            Ok(())
        })
        .await?;
    Ok(stored)
}

/// The revision of an entry's last change.
pub(super) async fn revision_of(connection: &mut Connection, key: &Key) -> Result<Option<u64>, PersistError> {
    let sql = "SELECT revision FROM entries WHERE kind = $1 AND zone = $2 AND name = $3 AND type = $4";
    let rows = connection.rows(sql, values_of(key).into()).await?;
    rows.first().map(|row| row.count(0)).transpose()
}

/// Reads `kind, zone, name, type` from a column on.
pub(super) fn read_key(row: &Row, column: usize) -> Result<Key, PersistError> {
    let kind = Kind::parse(&row.text(column)?)?;
    Ok(Key::new(kind, row.text(column + 1)?, row.text(column + 2)?, row.text(column + 3)?))
}

fn read_entry(row: &Row) -> Result<(Key, Coded, u64), PersistError> {
    let body = row.bytes(5)?.map(Arc::from);
    Ok((read_key(row, 0)?, Coded { json: row.text(4)?.into(), body }, row.count(6)?))
}

fn values_of(key: &Key) -> [Value; 4] {
    into_values(key.clone())
}

fn into_values(key: Key) -> [Value; 4] {
    [key.kind.text(), key.zone, key.name, key.rtype].map(|word| Value::Text(Some(word)))
}

/// Runs a statement over all rows, as many at once as it takes.
async fn in_chunks<T>(
    connection: &mut Connection,
    rows: Vec<T>,
    sql: impl Fn(usize) -> Cow<'static, str>,
    values_of: impl Fn(T, &mut Vec<Value>),
) -> Result<(), PersistError> {
    let (dialect, mut left, mut rows) = (connection.dialect(), rows.len(), rows.into_iter());
    let mut bind = || {
        let count = (left > 0).then(|| at_once(left))?;
        left -= count;
        let mut values = Vec::with_capacity(count * 9);
        rows.by_ref().take(count).for_each(|row| values_of(row, &mut values));
        Some(Bound::new(dialect, sql(count), values))
    };
    let mut next = bind();
    while let Some(bound) = next {
        // The next is made ready while the database is at this one.
        let (done, bound) = tokio::join!(biased; connection.run(bound), async { bind() });
        done?;
        next = bound;
    }
    Ok(())
}

fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        if rows.is_empty() {
            return None;
        }
        let (chunk, rest) = rows.split_at(at_once(rows.len()));
        rows = rest;
        Some(chunk)
    })
}

fn at_once(left: usize) -> usize {
    let fitting = ROWS_AT_ONCE.into_iter().find(|size| *size <= left);
    fitting.expect("one row fits whatever is left")
}

/// `($1, $2), ($3, $4)`; for SQLite `(?, ?), (?, ?)`, as it looks through all that have a name to bind one.
fn places(dialect: Dialect, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 7);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let separator = if column == 1 { "" } else { ", " };
            match dialect {
                Dialect::Sqlite => write!(text, "{separator}?"),
                Dialect::Postgres => write!(text, "{separator}${}", row * columns + column),
            }
            .expect("a string takes all");
        }
        text.push(')');
    }
    text
}

impl Source {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Source::Rest => "rest",
            Source::Sync => "sync",
            Source::File => "file",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Source, PersistError> {
        [Source::Rest, Source::Sync, Source::File]
            .into_iter()
            .find(|source| source.as_str() == text)
            .ok_or_else(|| PersistError::Damaged { what: text.into(), reason: "no source of changes".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_few_sizes() {
        let rows = [(); 1000];
        let sizes: Vec<usize> = chunks(&rows).map(<[()]>::len).collect();
        assert_eq!(sizes[..8], [512, 64, 64, 64, 64, 64, 64, 64]);
        assert_eq!(sizes[8..], [8, 8, 8, 8, 8]);
        assert_eq!(places(Dialect::Postgres, 2, 2), "($1, $2), ($3, $4)");
        assert_eq!(places(Dialect::Sqlite, 2, 1), "(?), (?)");
    }
}
