-- purpose: the person's experience signals in order
-- parameters: person_id
-- index: signals_by_person
SELECT seq, at, kind, polarity, score, scale, stage, subject
FROM signals
WHERE person_id = :person_id
ORDER BY at, seq;
