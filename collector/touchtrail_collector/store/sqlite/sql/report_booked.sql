-- purpose: the sum credits are held against: what the orders of people in one currency changed by
-- parameters: shop_id, currency, placed_start_ms, placed_end_ms (when placed), start_ms, end_ms (when changed)
-- index: orders_by_time, persons by person_id, order_changes by (shop_id, order_id, n)
SELECT count(DISTINCT o.order_id) AS orders, coalesce(sum(c.amount_minor), 0) AS amount_minor
FROM orders o INDEXED BY orders_by_time
    CROSS JOIN persons p ON p.person_id = o.person_id
    CROSS JOIN order_changes c ON c.shop_id = o.shop_id AND c.order_id = o.order_id
WHERE o.placed_at >= :placed_start_ms AND o.placed_at < :placed_end_ms AND o.shop_id = :shop_id
  AND o.currency = :currency AND p.is_bot = 0 AND c.at >= :start_ms AND c.at < :end_ms;
