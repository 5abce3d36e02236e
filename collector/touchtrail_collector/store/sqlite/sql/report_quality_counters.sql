-- purpose: what was counted at the door, per source
-- parameters: shop_id, first_day, last_day (UTC, text, both included)
-- index: counters by (source_id, day, name)
SELECT c.source_id, c.name, sum(c.n) AS n
FROM sources s CROSS JOIN counters c ON c.source_id = s.source_id
WHERE s.shop_id = :shop_id AND c.day >= :first_day AND c.day <= :last_day
GROUP BY c.source_id, c.name
ORDER BY c.source_id, c.name;
