INSERT INTO scorers
SELECT (SELECT coalesce(max(scorer_id), 0) + 1 FROM scorers), $metric, $name, $revision, $preprocessing, $tier, now()::TIMESTAMP
WHERE NOT EXISTS (
    SELECT 1 FROM scorers
    WHERE metric = $metric AND name = $name AND revision = $revision AND preprocessing = $preprocessing
)
