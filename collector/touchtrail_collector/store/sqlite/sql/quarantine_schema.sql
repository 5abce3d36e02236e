-- purpose: quarantine with its size, with repetitions counted, and with the bodies last, where lists need not pass them
-- parameters: none
-- index: one open entry per digest; closed entries by id: they go first when room is needed

CREATE TABLE quarantine_before AS SELECT * FROM quarantine;
DROP TABLE quarantine;

-- state: open | replayed | dismissed. times: how often the same came while it was open; last_at: when it came last,
-- NULL = it came once. name: the event's, where it could be read. reader: the source plugin whose form the body has,
-- NULL = the collector's own. digest: of what makes two rejects the same; NULL in entries of older versions.
CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    last_at     INTEGER,
    times       INTEGER NOT NULL DEFAULT 1,
    source_id   INTEGER,
    reader      TEXT,
    code        TEXT NOT NULL,
    field       TEXT,
    name        TEXT,
    message     TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'open',
    digest      BLOB,
    body        BLOB NOT NULL
);
CREATE UNIQUE INDEX quarantine_same ON quarantine (digest) WHERE state = 'open';
CREATE INDEX quarantine_closed ON quarantine (id) WHERE state <> 'open';

-- How large quarantine is, whoever adds or deletes: counting it anew for every reject would take longer than keeping it.
CREATE TABLE quarantine_size (
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
);
INSERT INTO quarantine_size VALUES (0, 0);
CREATE TRIGGER quarantine_grows AFTER INSERT ON quarantine BEGIN
    UPDATE quarantine_size SET entries = entries + 1, bytes = bytes + length(NEW.body) + length(NEW.message); END;
CREATE TRIGGER quarantine_shrinks AFTER DELETE ON quarantine BEGIN
    UPDATE quarantine_size SET entries = entries - 1, bytes = bytes - length(OLD.body) - length(OLD.message); END;
CREATE TRIGGER quarantine_changes AFTER UPDATE OF body, message ON quarantine BEGIN
    UPDATE quarantine_size SET bytes = bytes + length(NEW.body) + length(NEW.message) - length(OLD.body) - length(OLD.message); END;

INSERT INTO quarantine (id, received_at, source_id, code, field, message, state, body)
    SELECT id, received_at, source_id, code, field, message, state, body FROM quarantine_before ORDER BY id;
DROP TABLE quarantine_before;

-- The names of properties of a source's own, the first so many: what comes beyond goes under _overflow.
CREATE TABLE property_names (
    source_id INTEGER NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (source_id, name)
) WITHOUT ROWID;
