-- purpose: events per source and name, with what their clocks say
-- parameters: shop_id, start_ms, end_ms (of receiving), late_ms, skew_ms
-- index: none; one pass over events, the log, which has no index besides its order
SELECT e.source_id, e.name, count(*) AS events,
       sum(e.received_at - e.occurred_at > :late_ms) AS late,
       coalesce(sum(abs(e.received_at - e.sent_at) > :skew_ms), 0) AS skewed,
       sum(e.occurred_at - e.received_at > :skew_ms) AS future,
       max(e.occurred_at) AS last_occurred, max(e.received_at) AS last_received
FROM events e
WHERE e.source_id IN (SELECT source_id FROM sources WHERE shop_id = :shop_id)
  AND e.received_at >= :start_ms AND e.received_at < :end_ms
GROUP BY e.source_id, e.name
ORDER BY e.source_id, e.name;
