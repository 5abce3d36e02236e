-- purpose: one person
-- parameters: shop_id, person_id
-- index: persons by person_id
SELECT person_id, customer_id, first_seen, last_seen, stage, events, sessions, orders, is_bot
FROM persons
WHERE person_id = :person_id AND shop_id = :shop_id;
