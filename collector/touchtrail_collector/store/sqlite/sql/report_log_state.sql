-- purpose: how far the log goes and how far it has been derived
-- parameters: none
-- index: events by seq, meta by name
WITH state (derived_seq) AS (
    SELECT coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'derived_seq'), 0)
)
SELECT (SELECT coalesce(max(seq), 0) FROM events) AS events,
       derived_seq,
       (SELECT count(*) FROM events WHERE seq > state.derived_seq) AS waiting,
       (SELECT received_at FROM events WHERE seq <= state.derived_seq ORDER BY seq DESC LIMIT 1) AS derived_received
FROM state;
