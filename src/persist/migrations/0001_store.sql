-- The store, for SQLite and PostgreSQL alike; `{…}` is where they differ (migrate.rs).

-- One row: the newest revision.
CREATE TABLE counter (
    revision BIGINT NOT NULL
);
INSERT INTO counter (revision) VALUES (0);

-- All that operators set and all that must outlast a restart, as it is now.
-- kind: zone, record-set, forwarder, token, document, serial. What a kind does not need of the key is empty.
CREATE TABLE entries (
    kind     {key} NOT NULL,
    zone     {key} NOT NULL,
    name     {key} NOT NULL,
    type     {key} NOT NULL,
    value    TEXT NOT NULL,      -- JSON
    body     {bytes},            -- a token's hash, a document's bytes
    revision BIGINT NOT NULL,    -- that of its last change: its ETag
    PRIMARY KEY (kind, zone, name, type)
){without_rowid};

-- Who changed something, when, from where: a row a revision, none left out.
CREATE TABLE changes (
    revision   BIGINT NOT NULL PRIMARY KEY,
    at_ms      BIGINT NOT NULL,  -- since 1970
    source     TEXT NOT NULL,    -- rest, sync, file
    actor      TEXT NOT NULL,
    remote     TEXT,
    request_id TEXT,
    comment    TEXT,
    serials    TEXT NOT NULL,    -- JSON: zone -> its new serial
    items      BIGINT NOT NULL   -- how many rows of change_items
);

-- What a revision changed, in order. Kinds beyond those of entries: zone-contents (all record sets taken away), note.
CREATE TABLE change_items (
    revision BIGINT NOT NULL,
    position BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    zone     {key} NOT NULL,
    name     {key} NOT NULL,
    type     TEXT NOT NULL,
    before   TEXT,               -- JSON
    after    TEXT,               -- JSON
    body     {bytes},            -- a token's hash, for instances that follow; not shown
    PRIMARY KEY (revision, position)
){without_rowid};

-- Answers to requests that carried an Idempotency-Key.
CREATE TABLE idempotency (
    token        {key} NOT NULL,
    key          {key} NOT NULL,
    request_hash {bytes} NOT NULL,
    revision     BIGINT NOT NULL,
    serials      TEXT NOT NULL,
    answer       {bytes} NOT NULL,
    expires_ms   BIGINT NOT NULL,
    PRIMARY KEY (token, key)
){without_rowid};
CREATE INDEX idempotency_expires ON idempotency (expires_ms);
