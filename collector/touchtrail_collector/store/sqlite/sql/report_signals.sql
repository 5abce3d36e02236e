-- purpose: the experience signals of people in the span
-- parameters: shop_id, start_ms, end_ms
-- index: persons by person_id; one pass over signals
SELECT s.at, coalesce(s.channel_id, 0) AS channel_id, s.polarity = 'pain' AS pain, s.polarity = 'gain' AS gain
FROM signals s CROSS JOIN persons p ON p.person_id = s.person_id
WHERE s.at >= :start_ms AND s.at < :end_ms AND p.shop_id = :shop_id AND p.is_bot = 0;
