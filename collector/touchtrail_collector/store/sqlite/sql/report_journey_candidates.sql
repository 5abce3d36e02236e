-- purpose: the people a text may mean: an identifier of any kind, or an order number
-- parameters: shop_id, value
-- index: identity_links_by_value once per kind (the kinds are hopped through in the same index),
--        orders by (shop_id, order_id), persons by person_id
WITH RECURSIVE kinds (kind) AS (
    SELECT min(kind) FROM identity_links
    UNION ALL
    SELECT (SELECT min(kind) FROM identity_links WHERE kind > kinds.kind) FROM kinds WHERE kind IS NOT NULL
)
SELECT l.person_id, l.kind, l.value, p.customer_id
FROM kinds k
    CROSS JOIN identity_links l ON l.kind = k.kind AND l.value = :value
    CROSS JOIN persons p ON p.person_id = l.person_id
WHERE p.shop_id = :shop_id
UNION
SELECT o.person_id, 'order_id', o.order_id, p.customer_id
FROM orders o CROSS JOIN persons p ON p.person_id = o.person_id
WHERE o.shop_id = :shop_id AND o.order_id = :value
ORDER BY 1, 2;
