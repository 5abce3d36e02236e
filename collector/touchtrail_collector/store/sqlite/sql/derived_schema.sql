-- purpose: everything that is worked out from the event log; `touchtrail rebuild` drops these tables and makes them anew
-- parameters: none
-- index: each table is found by person_id, because a person is derived as a whole
-- All times are UTC milliseconds, all amounts integer minor units of the row's currency.

CREATE TABLE channels (
    channel_id INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    medium     TEXT NOT NULL,
    online     INTEGER NOT NULL,
    is_direct  INTEGER NOT NULL
);

-- Which identifiers have been seen together; a cluster holds one person, or several who share a device.
-- is_hub = 1: so many people have it (a public coupon code, the shop's own phone number) that it links nobody.
CREATE TABLE identity_nodes (
    node       TEXT PRIMARY KEY,
    cluster_id INTEGER NOT NULL,
    is_hub     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX identity_nodes_by_cluster ON identity_nodes (cluster_id);

CREATE TABLE cluster_events (
    cluster_id INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, seq)
) WITHOUT ROWID;

-- person_id is the seq of the person's first event in the log. stage: the furthest one; last_stage: the latest one.
CREATE TABLE persons (
    person_id   INTEGER PRIMARY KEY,
    cluster_id  INTEGER NOT NULL,
    shop_id     INTEGER NOT NULL,
    customer_id TEXT,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    stage       TEXT,
    events      INTEGER NOT NULL,
    sessions    INTEGER NOT NULL,
    orders      INTEGER NOT NULL,
    is_bot      INTEGER NOT NULL,
    traits      TEXT,
    touchpoints INTEGER NOT NULL DEFAULT 0,
    last_stage  TEXT
);
CREATE INDEX persons_by_cluster ON persons (cluster_id);

-- Why an identifier belongs to a person. reason: first_seen | same_event | login | email | phone | loyalty_card |
-- order | receipt | coupon | click | shared_device (the device serves several persons; events are told apart by login).
CREATE TABLE identity_links (
    person_id INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    reason    TEXT NOT NULL,
    linked_at INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (person_id, kind, value)
) WITHOUT ROWID;
CREATE INDEX identity_links_by_value ON identity_links (kind, value);

CREATE TABLE sessions (
    session_id  INTEGER PRIMARY KEY,
    person_id   INTEGER NOT NULL,
    source_id   INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER NOT NULL,
    events      INTEGER NOT NULL,
    channel_id  INTEGER NOT NULL,
    campaign    TEXT,
    landing_url TEXT,
    device_kind TEXT
);
CREATE INDEX sessions_by_person ON sessions (person_id);

-- One row per contact, in the order of the person's road. creditable = 1: attribution may credit it.
-- contact: visit | click | impression | encounter | notice. session_id NULL = outside every session.
-- channel_id NULL = the contact came through no channel (a parcel on its way, a return).
CREATE TABLE touchpoints (
    seq         INTEGER PRIMARY KEY,
    person_id   INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    name        TEXT NOT NULL,
    stage       TEXT,
    moment      TEXT,
    contact     TEXT NOT NULL,
    creditable  INTEGER NOT NULL,
    channel_id  INTEGER,
    session_id  INTEGER,
    campaign    TEXT
);
CREATE INDEX touchpoints_by_person ON touchpoints (person_id, position);

-- polarity: pain | gain | neutral. score and scale where a number was given.
CREATE TABLE signals (
    seq        INTEGER PRIMARY KEY,
    person_id  INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    polarity   TEXT NOT NULL,
    score      REAL,
    scale      REAL,
    stage      TEXT,
    channel_id INTEGER,
    subject    TEXT
);
CREATE INDEX signals_by_person ON signals (person_id);

-- state: placed | paid | shipped | delivered | cancelled | returned | refunded | charged_back, or `unknown` when only
-- later events of the order have come so far. net = gross - cancelled - refunded - charged_back, never below 0.
CREATE TABLE orders (
    shop_id            INTEGER NOT NULL,
    order_id           TEXT NOT NULL,
    person_id          INTEGER NOT NULL,
    state              TEXT NOT NULL,
    placed_at          INTEGER,
    paid_at            INTEGER,
    shipped_at         INTEGER,
    delivered_at       INTEGER,
    closed_at          INTEGER,
    currency           TEXT NOT NULL,
    gross_minor        INTEGER NOT NULL,
    goods_minor        INTEGER NOT NULL,
    tax_minor          INTEGER NOT NULL,
    shipping_minor     INTEGER NOT NULL,
    discount_minor     INTEGER NOT NULL,
    cancelled_minor    INTEGER NOT NULL,
    refunded_minor     INTEGER NOT NULL,
    charged_back_minor INTEGER NOT NULL,
    net_minor          INTEGER NOT NULL,
    pieces             INTEGER NOT NULL,
    coupon_codes       TEXT,
    reports            INTEGER NOT NULL,
    conflicts          INTEGER NOT NULL,
    PRIMARY KEY (shop_id, order_id)
) WITHOUT ROWID;
CREATE INDEX orders_by_person ON orders (person_id);
CREATE INDEX orders_by_time ON orders (placed_at);

-- The order's value over time: kind placed (+gross) | updated (±) | cancelled (-) | refunded (-) | charged_back (-) |
-- chargeback_won (+). The amounts of an order's changes sum to its net_minor.
CREATE TABLE order_changes (
    shop_id      INTEGER NOT NULL,
    order_id     TEXT NOT NULL,
    n            INTEGER NOT NULL,
    person_id    INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    reason       TEXT,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (shop_id, order_id, n)
) WITHOUT ROWID;
CREATE INDEX order_changes_by_person ON order_changes (person_id);

-- What advertising cost; a span of days is spread evenly over its days, one row a day.
CREATE TABLE costs (
    seq          INTEGER NOT NULL,
    day          TEXT NOT NULL,
    shop_id      INTEGER NOT NULL,
    channel_id   INTEGER NOT NULL,
    campaign     TEXT,
    amount_minor INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    impressions  INTEGER,
    clicks       INTEGER,
    PRIMARY KEY (seq, day)
) WITHOUT ROWID;

-- Views with plain names, for people who open the file in another tool.
CREATE VIEW customer_journeys AS
SELECT t.person_id, p.customer_id, t.position, datetime(t.at / 1000, 'unixepoch') AS at_utc, t.stage, t.name AS event,
       c.name AS channel, c.medium, t.contact, t.moment, t.campaign, t.creditable
FROM touchpoints t JOIN persons p USING (person_id) LEFT JOIN channels c USING (channel_id);

CREATE VIEW order_book AS
SELECT o.order_id, datetime(o.placed_at / 1000, 'unixepoch') AS placed_at_utc, o.state, o.currency,
       o.gross_minor, o.cancelled_minor, o.refunded_minor, o.charged_back_minor, o.net_minor, p.customer_id,
       o.person_id
FROM orders o JOIN persons p USING (person_id);
