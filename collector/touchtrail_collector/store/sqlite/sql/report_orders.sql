-- purpose: the orders people placed in the span, as the ledger has them now
-- parameters: shop_id, start_ms, end_ms
-- index: orders_by_time, persons by person_id
SELECT o.order_id, o.person_id, o.state, o.placed_at, o.currency, o.gross_minor, o.cancelled_minor, o.refunded_minor,
       o.charged_back_minor, o.net_minor, o.reports, o.conflicts
FROM orders o INDEXED BY orders_by_time CROSS JOIN persons p ON p.person_id = o.person_id
WHERE o.placed_at >= :start_ms AND o.placed_at < :end_ms AND o.shop_id = :shop_id AND p.is_bot = 0
ORDER BY o.placed_at, o.order_id;
