-- The parts that hold vectors of this model, and which of their rows are in use.
SELECT part, list(row) AS rows FROM embeddings WHERE model = $model AND row >= 0 GROUP BY part ORDER BY part
