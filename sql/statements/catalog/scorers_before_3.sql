SELECT scorer_id, metric FROM scorers ORDER BY scorer_id
