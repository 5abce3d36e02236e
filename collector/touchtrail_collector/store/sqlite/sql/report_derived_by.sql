-- purpose: the rules everything was derived with, as the projector wrote them down
-- parameters: none
-- index: meta by name
SELECT (SELECT value FROM meta WHERE name = 'derived_rules') AS rules;
