-- purpose: the shop's sources
-- parameters: shop_id
-- index: none; a handful of rows
SELECT source_id, name FROM sources WHERE shop_id = :shop_id ORDER BY source_id;
