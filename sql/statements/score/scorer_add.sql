INSERT INTO scorers (scorer_id, metric, name, revision, preprocessing, tier, created_at, in_use)
VALUES ($scorer_id, $metric, $name, $revision, $preprocessing, $tier, now()::TIMESTAMP,
        NOT EXISTS (SELECT 1 FROM scorers WHERE metric = $metric AND in_use))
