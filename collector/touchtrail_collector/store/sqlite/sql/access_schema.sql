-- purpose: what a sender may do, and the life of its keys
-- parameters: none
-- index: none: both tables have few rows and are read whole

-- mode: full | consent_required. origins: web pages that may use its keys, separated by blanks; '' = any.
ALTER TABLE sources ADD COLUMN mode TEXT NOT NULL DEFAULT 'full';
ALTER TABLE sources ADD COLUMN origins TEXT NOT NULL DEFAULT '';

-- expires_at: set when the key is rotated. last_used_at: written once a minute at most.
ALTER TABLE keys ADD COLUMN expires_at INTEGER;
ALTER TABLE keys ADD COLUMN last_used_at INTEGER;
