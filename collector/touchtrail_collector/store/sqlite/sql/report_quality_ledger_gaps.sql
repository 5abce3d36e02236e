-- purpose: orders whose changes do not sum to their net amount
-- parameters: shop_id, limit
-- index: orders by (shop_id, order_id), order_changes by (shop_id, order_id, n)
SELECT o.order_id, o.net_minor, coalesce(sum(c.amount_minor), 0) AS changes_minor
FROM orders o LEFT JOIN order_changes c ON c.shop_id = o.shop_id AND c.order_id = o.order_id
WHERE o.shop_id = :shop_id
GROUP BY o.shop_id, o.order_id
HAVING changes_minor <> o.net_minor
ORDER BY o.order_id
LIMIT :limit;
