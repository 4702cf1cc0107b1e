SELECT scorer_id, metric, name, revision, preprocessing, tier FROM scorers ORDER BY scorer_id
