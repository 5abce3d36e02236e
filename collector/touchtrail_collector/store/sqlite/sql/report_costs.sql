-- purpose: costs per channel and currency
-- parameters: shop_id, first_day, last_day (text, both included)
-- index: none; a row per channel, campaign and day
SELECT channel_id, currency, sum(amount_minor) AS amount_minor, sum(impressions) AS impressions, sum(clicks) AS clicks
FROM costs
WHERE shop_id = :shop_id AND day >= :first_day AND day <= :last_day
GROUP BY channel_id, currency
ORDER BY channel_id, currency;
