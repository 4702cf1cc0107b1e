-- Readable images for which nobody has tried to compute a vector of this model.
SELECT count(*) FROM images i
WHERE i.status IN ('ok', 'ok-warnings')
  AND NOT EXISTS (SELECT 1 FROM embeddings e WHERE e.image_id = i.image_id AND e.model = $model)
