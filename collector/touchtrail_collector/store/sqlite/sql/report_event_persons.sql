-- purpose: the person of every contact on anybody's road
-- parameters: none
-- index: events by its primary key; one pass over touchpoints

SELECT e.event_id, t.person_id
FROM touchpoints t
JOIN events e ON e.seq = t.seq
