-- purpose: the person's touchpoints in order, with what each event was about
-- parameters: person_id
-- index: touchpoints_by_person; channels, events and sources by their ids
SELECT t.seq, t.position, t.at, t.name, t.stage, t.moment, t.contact, t.creditable, c.name AS channel, t.session_id,
       t.campaign,
       coalesce(json_extract(e.body, '$.properties.name'), json_extract(e.body, '$.properties.query'),
                json_extract(e.body, '$.properties.order_id'), json_extract(e.body, '$.properties.coupon_code'),
                json_extract(e.body, '$.properties.sku'), json_extract(e.body, '$.page.title'),
                json_extract(e.body, '$.page.url')) AS about,
       s.name AS source
FROM touchpoints t
    LEFT JOIN channels c ON c.channel_id = t.channel_id
    LEFT JOIN events e ON e.seq = t.seq
    LEFT JOIN sources s ON s.source_id = e.source_id
WHERE t.person_id = :person_id
ORDER BY t.at, t.position;
