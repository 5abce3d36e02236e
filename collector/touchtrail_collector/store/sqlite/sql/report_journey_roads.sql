-- purpose: people worth looking at: most stages first, then orders, then events
-- parameters: shop_id, start_ms, end_ms, limit
-- index: one pass over persons picks ten times as many as are wanted; touchpoints_by_person for those
WITH picked AS (
    SELECT person_id, customer_id, stage, orders, events, sessions, first_seen, last_seen
    FROM persons
    WHERE shop_id = :shop_id AND is_bot = 0 AND last_seen >= :start_ms AND first_seen < :end_ms
    ORDER BY CASE stage WHEN 'loyalty' THEN 5 WHEN 'retention' THEN 4 WHEN 'purchase' THEN 3
                        WHEN 'consideration' THEN 2 WHEN 'awareness' THEN 1 ELSE 0 END DESC,
             orders DESC, events DESC, person_id
    LIMIT :limit * 10
)
SELECT p.person_id, p.customer_id, count(DISTINCT t.stage) AS stages, p.stage, p.orders, count(t.seq) AS touchpoints,
       p.sessions, p.first_seen, p.last_seen
FROM picked p LEFT JOIN touchpoints t ON t.person_id = p.person_id
GROUP BY p.person_id
ORDER BY stages DESC, p.orders DESC, p.events DESC, p.person_id
LIMIT :limit;
