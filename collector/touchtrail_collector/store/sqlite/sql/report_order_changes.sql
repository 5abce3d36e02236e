-- purpose: the changes of people's orders dated in the span
-- parameters: shop_id, start_ms, end_ms
-- index: order_changes by (shop_id, order_id, n), orders by (shop_id, order_id), persons by person_id
SELECT c.order_id, c.n, c.at, c.kind, c.amount_minor, c.reason, o.currency, c.seq
FROM order_changes c
    CROSS JOIN orders o ON o.shop_id = c.shop_id AND o.order_id = c.order_id
    CROSS JOIN persons p ON p.person_id = o.person_id
WHERE c.shop_id = :shop_id AND c.at >= :start_ms AND c.at < :end_ms AND p.is_bot = 0
ORDER BY c.at, c.order_id, c.n;
