-- purpose: every change of the person's orders
-- parameters: person_id
-- index: orders_by_person, order_changes by (shop_id, order_id, n)
SELECT c.order_id, c.n, c.at, c.kind, c.amount_minor, c.reason, o.currency, c.seq
FROM orders o CROSS JOIN order_changes c ON c.shop_id = o.shop_id AND c.order_id = o.order_id
WHERE o.person_id = :person_id
ORDER BY c.order_id, c.n;
