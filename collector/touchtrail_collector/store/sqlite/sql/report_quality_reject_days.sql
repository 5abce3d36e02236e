-- purpose: rejects per code and day as counted at the door, those of unknown senders included
-- parameters: shop_id, first_day, last_day (UTC, text, both included)
-- index: counters by (source_id, day, name)
SELECT c.day, substr(c.name, 10) AS code, sum(c.n) AS n
FROM (SELECT source_id FROM sources WHERE shop_id = :shop_id UNION ALL SELECT 0) s
CROSS JOIN counters c ON c.source_id = s.source_id
WHERE c.day >= :first_day AND c.day <= :last_day AND c.name >= 'rejected:' AND c.name < 'rejected;'
GROUP BY c.day, code
ORDER BY c.day, code;
