-- purpose: counts that should be nought, or are needed to say how much that is
-- parameters: shop_id, personless (JSON array of event names)
-- index: events by seq, persons by person_id; one pass over persons, orders and cluster_events
WITH people AS (
    SELECT count(*) AS persons, coalesce(sum(is_bot), 0) AS bots,
           coalesce(sum(CASE WHEN is_bot THEN events ELSE 0 END), 0) AS bot_events
    FROM persons
    WHERE shop_id = :shop_id
), book AS (
    SELECT count(*) AS orders, coalesce(sum(o.placed_at IS NULL), 0) AS orders_unknown,
           coalesce(sum(p.is_bot), 0) AS orders_of_bots
    FROM orders o CROSS JOIN persons p ON p.person_id = o.person_id
    WHERE o.shop_id = :shop_id
), log AS (
    SELECT count(*) AS derived, coalesce(sum(name IN (SELECT value FROM json_each(:personless))), 0) AS personless
    FROM events
    WHERE seq <= coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'derived_seq'), 0)
)
SELECT people.persons, people.bots, people.bot_events,
       log.derived AS events_derived, (SELECT count(*) FROM cluster_events) AS events_of_persons,
       log.personless AS events_personless,
       book.orders, book.orders_unknown, book.orders_of_bots
FROM people CROSS JOIN book CROSS JOIN log;
