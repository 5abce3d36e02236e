-- purpose: every channel
-- parameters: none
-- index: none; a handful of rows
SELECT channel_id, name, medium, online, is_direct FROM channels ORDER BY channel_id;
