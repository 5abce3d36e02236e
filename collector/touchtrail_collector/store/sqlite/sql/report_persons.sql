-- purpose: every person of a shop, bots included
-- parameters: shop_id
-- index: none; one pass over persons in the order of the table
SELECT person_id, first_seen, last_seen, is_bot, customer_id IS NOT NULL AS identified
FROM persons
WHERE shop_id = :shop_id
ORDER BY person_id;
