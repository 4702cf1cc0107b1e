-- The parts that hold vectors of this model, and the last of their rows that is in use.
SELECT part, max(row) AS last_row FROM embeddings WHERE model = $model AND row >= 0 GROUP BY part ORDER BY part
