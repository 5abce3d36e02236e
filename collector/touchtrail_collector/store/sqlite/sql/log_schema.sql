-- purpose: the tables that are written once and never derived: senders, keys, the event log, quarantine, counters
-- parameters: none
-- index: events is unique on (source_id, event_id); m003_seen replaces the index by something random ids do not slow down

CREATE TABLE shops (
    shop_id  INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    currency TEXT NOT NULL DEFAULT 'EUR'
);

CREATE TABLE sources (
    source_id  INTEGER PRIMARY KEY,
    shop_id    INTEGER NOT NULL REFERENCES shops (shop_id),
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);

-- kind: write | read. Only a hash of the key is kept; hint is its first characters, to tell keys apart in lists.
CREATE TABLE keys (
    key_hash   TEXT PRIMARY KEY,
    hint       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    source_id  INTEGER REFERENCES sources (source_id),
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
);

CREATE TABLE events (
    seq          INTEGER PRIMARY KEY,
    source_id    INTEGER NOT NULL,
    event_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    occurred_at  INTEGER NOT NULL,
    sent_at      INTEGER,
    received_at  INTEGER NOT NULL,
    anonymous_id TEXT,
    customer_id  TEXT,
    body         TEXT NOT NULL
);
CREATE UNIQUE INDEX events_by_id ON events (source_id, event_id);

-- state: open | replayed | dismissed
CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    source_id   INTEGER,
    code        TEXT NOT NULL,
    field       TEXT,
    message     TEXT NOT NULL,
    body        BLOB NOT NULL,
    state       TEXT NOT NULL DEFAULT 'open'
);

-- counted per source and UTC day: accepted, duplicate, rejected:<code>
CREATE TABLE counters (
    source_id INTEGER NOT NULL,
    day       TEXT NOT NULL,
    name      TEXT NOT NULL,
    n         INTEGER NOT NULL,
    PRIMARY KEY (source_id, day, name)
) WITHOUT ROWID;

-- name: value pairs of the file itself: hash_key (hex), projector cursor
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
