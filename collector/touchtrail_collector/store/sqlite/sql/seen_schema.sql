-- purpose: which event ids the log has or had (seen.py); digests keyed with this file's secret, nothing of an event
-- parameters: none
-- index: a part is found by its run and number

-- level: 0 small, 1 merged. last_seq: every event up to there is in some run. firsts, filter: see seen.py.
CREATE TABLE seen_runs (
    run_id   INTEGER PRIMARY KEY,
    level    INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    ids      INTEGER NOT NULL,
    firsts   BLOB NOT NULL,
    filter   BLOB NOT NULL
);

CREATE TABLE seen_parts (
    run_id  INTEGER NOT NULL,
    part    INTEGER NOT NULL,
    digests BLOB NOT NULL
);
CREATE UNIQUE INDEX seen_parts_by_run ON seen_parts (run_id, part);

-- An event is unique by (source_id, event_id) all the same: the one process that writes looks it up here.
DROP INDEX events_by_id;
