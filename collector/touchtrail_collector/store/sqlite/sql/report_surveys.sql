-- purpose: survey answers counted per kind, scale and score
-- parameters: shop_id, start_ms, end_ms
-- index: persons by person_id; one pass over signals
SELECT s.kind, s.scale, s.score, count(*) AS n
FROM signals s CROSS JOIN persons p ON p.person_id = s.person_id
WHERE s.kind IN ('nps', 'csat', 'ces') AND s.score IS NOT NULL
  AND s.at >= :start_ms AND s.at < :end_ms AND p.shop_id = :shop_id AND p.is_bot = 0
GROUP BY s.kind, s.scale, s.score
ORDER BY s.kind, s.scale, s.score;
