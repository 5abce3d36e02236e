-- purpose: why each identifier belongs to the person
-- parameters: person_id
-- index: identity_links by (person_id, kind, value)
SELECT kind, value, reason, linked_at, seq
FROM identity_links
WHERE person_id = :person_id
ORDER BY linked_at, seq, kind, value;
