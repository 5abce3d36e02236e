-- purpose: the sessions that started in the span
-- parameters: start_ms, end_ms
-- index: none; one pass over sessions, reports keep the people they are about
SELECT person_id, started_at, channel_id
FROM sessions
WHERE started_at >= :start_ms AND started_at < :end_ms;
