DELETE FROM embeddings
WHERE image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'bytes')
   OR (row < 0 AND image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'back'))
