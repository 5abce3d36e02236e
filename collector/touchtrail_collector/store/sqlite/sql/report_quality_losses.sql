-- purpose: events that senders say they lost, per source, outcome and reason; a source's rarest reasons as one row
-- parameters: shop_id, start_ms, end_ms (of receiving), listed (reasons per source and outcome with a row of their own)
-- index: none; one pass over events, the log, of which no index helps
WITH told AS (
    SELECT e.source_id, e.received_at, e.occurred_at, CASE WHEN json_valid(e.body) THEN e.body ELSE '{}' END AS body
    FROM events e
    WHERE e.name = 'events_lost'
      AND e.source_id IN (SELECT source_id FROM sources WHERE shop_id = :shop_id)
      AND e.received_at >= :start_ms AND e.received_at < :end_ms
), claims AS (
    -- What counts no events (a name of that kind from before it was in the vocabulary) gets no outcome.
    SELECT source_id,
           CASE WHEN json_extract(body, '$.properties.outcome') IN ('dropped', 'refused')
                 AND typeof(json_extract(body, '$.properties.events')) = 'integer'
                 AND json_extract(body, '$.properties.events') BETWEEN 0 AND 9007199254740991
                THEN json_extract(body, '$.properties.outcome') END AS outcome,
           substr(coalesce(json_extract(body, '$.properties.reason'), ''), 1, 64) AS reason,
           json_extract(body, '$.properties.events') AS lost,
           substr(json_extract(body, '$.properties.sender'), 1, 64) AS sender,
           -- Nothing was lost after it was told of, whatever the sender's clock says.
           min(coalesce(CAST((julianday(json_extract(body, '$.properties.until')) - 2440587.5) * 86400000 + 0.5 AS INTEGER),
                        occurred_at), received_at) AS lost_at
    FROM told
), reasons AS (
    -- In two halves: a sum of hostile counts must not overflow 64 bits, nor lose events as a float would.
    SELECT source_id, outcome, CASE WHEN outcome IS NOT NULL THEN reason END AS reason, count(*) AS reports,
           coalesce(sum(CASE WHEN outcome IS NOT NULL THEN lost >> 30 END), 0) AS high,
           coalesce(sum(CASE WHEN outcome IS NOT NULL THEN lost & 1073741823 END), 0) AS low,
           max(lost_at) AS last_lost, sender
    FROM claims
    GROUP BY 1, 2, 3
), ranked AS (
    SELECT source_id, outcome, reason, reports, high, low, last_lost, sender,
           row_number() OVER (PARTITION BY source_id, outcome ORDER BY high * 1073741824.0 + low DESC, reason) AS place
    FROM reasons
)
SELECT source_id, outcome, CASE WHEN place <= :listed THEN reason END AS reason, count(*) AS reasons,
       sum(reports) AS reports, sum(high) AS high, sum(low) AS low, max(last_lost) AS last_lost, sender
FROM ranked
GROUP BY source_id, outcome, min(place, :listed + 1)
ORDER BY source_id, outcome, min(place, :listed + 1);
