-- purpose: the person's orders by time; those nobody saw being placed come last
-- parameters: person_id
-- index: orders_by_person
SELECT order_id, state, placed_at, paid_at, shipped_at, delivered_at, closed_at, currency, gross_minor, cancelled_minor,
       refunded_minor, charged_back_minor, net_minor, coupon_codes
FROM orders
WHERE person_id = :person_id
ORDER BY placed_at IS NULL, placed_at, order_id;
