-- purpose: every shop, in the order they were made
-- parameters: none
-- index: none; a handful of rows
SELECT shop_id, name, currency FROM shops ORDER BY shop_id;
