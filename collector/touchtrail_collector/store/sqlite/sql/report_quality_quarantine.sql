-- purpose: open rejects per source and code, with the latest of each as example
-- parameters: shop_id, start_ms, end_ms
-- index: none for the counting, quarantine is bounded; quarantine by id for the examples
SELECT g.source_id, g.code, g.n, g.last_received, q.field, q.message
FROM (
    SELECT source_id, code, sum(times) AS n, max(coalesce(last_at, received_at)) AS last_received, max(id) AS last_id
    FROM quarantine
    WHERE state = 'open' AND coalesce(last_at, received_at) >= :start_ms AND coalesce(last_at, received_at) < :end_ms
      AND (source_id IS NULL OR source_id IN (SELECT source_id FROM sources WHERE shop_id = :shop_id))
    GROUP BY source_id, code
) g CROSS JOIN quarantine q ON q.id = g.last_id
ORDER BY g.n DESC, g.code, g.source_id;
