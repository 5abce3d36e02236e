-- purpose: how full quarantine is, and what of the shop's and of unknown senders' rejects waits and had to go
-- parameters: shop_id, first_day, last_day (UTC, text, both included)
-- index: none for what waits, quarantine is bounded; counters by (source_id, day, name)
SELECT z.entries, z.bytes, o.open, o.oldest_open, d.dropped
FROM quarantine_size z
CROSS JOIN (
    SELECT count(*) AS open, min(received_at) AS oldest_open
    FROM quarantine
    WHERE state = 'open'
      AND (source_id IS NULL OR source_id IN (SELECT source_id FROM sources WHERE shop_id = :shop_id))
) o
CROSS JOIN (
    SELECT coalesce(sum(c.n), 0) AS dropped
    FROM (SELECT source_id FROM sources WHERE shop_id = :shop_id UNION ALL SELECT 0) s
    CROSS JOIN counters c ON c.source_id = s.source_id
    WHERE c.name = 'quarantine_dropped' AND c.day >= :first_day AND c.day <= :last_day
) d;
