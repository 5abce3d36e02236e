-- purpose: what each order was worth at two moments
-- parameters: shop_id, before_ms, until_ms (both excluded)
-- index: order_changes by (shop_id, order_id, n), which is also the order of the groups
SELECT order_id,
       sum(CASE WHEN at < :before_ms THEN amount_minor ELSE 0 END) AS before_minor,
       sum(amount_minor) AS until_minor
FROM order_changes
WHERE shop_id = :shop_id AND at < :until_ms
GROUP BY order_id;
