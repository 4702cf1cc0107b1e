-- Vectors that cannot be read any more; scoring finds them missing.
DELETE FROM embeddings WHERE model = $model AND row >= 0 AND part IN (SELECT unnest($parts))
