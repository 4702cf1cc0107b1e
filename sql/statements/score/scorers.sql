SELECT scorer_id, metric, name, revision, preprocessing, tier, coalesce(in_use, false) AS in_use
FROM scorers ORDER BY scorer_id
