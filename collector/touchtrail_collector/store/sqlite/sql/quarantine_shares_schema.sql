-- purpose: how much of quarantine each sender takes, so that the one who takes most makes room for the others
-- parameters: none
-- index: open entries by sender, and by id in it: the oldest of one sender are found without passing the others'

DROP TRIGGER quarantine_grows;
DROP TRIGGER quarantine_shrinks;
DROP TRIGGER quarantine_changes;
DROP TABLE quarantine_size;

-- source_id: 0 = senders that are not known.
CREATE TABLE quarantine_shares (
    source_id INTEGER PRIMARY KEY,
    entries   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
);
INSERT INTO quarantine_shares
    SELECT coalesce(source_id, 0), count(*), sum(length(body) + length(message)) FROM quarantine GROUP BY 1;

CREATE TRIGGER quarantine_grows AFTER INSERT ON quarantine BEGIN
    INSERT INTO quarantine_shares VALUES (coalesce(NEW.source_id, 0), 1, length(NEW.body) + length(NEW.message))
        ON CONFLICT (source_id) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes; END;
CREATE TRIGGER quarantine_shrinks AFTER DELETE ON quarantine BEGIN
    UPDATE quarantine_shares SET entries = entries - 1, bytes = bytes - length(OLD.body) - length(OLD.message)
        WHERE source_id = coalesce(OLD.source_id, 0); END;
CREATE TRIGGER quarantine_changes AFTER UPDATE OF body, message ON quarantine BEGIN
    UPDATE quarantine_shares
        SET bytes = bytes + length(NEW.body) + length(NEW.message) - length(OLD.body) - length(OLD.message)
        WHERE source_id = coalesce(NEW.source_id, 0); END;

CREATE VIEW quarantine_size AS
    SELECT coalesce(sum(entries), 0) AS entries, coalesce(sum(bytes), 0) AS bytes FROM quarantine_shares;

CREATE INDEX quarantine_open ON quarantine (coalesce(source_id, 0), id) WHERE state = 'open';
