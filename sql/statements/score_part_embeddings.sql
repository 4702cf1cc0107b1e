INSERT INTO embeddings
SELECT image_id, embedding_model, $part_id, embedding_row, embedding_error
FROM read_parquet($part) AS p
WHERE embedding_model IS NOT NULL
  AND NOT EXISTS (
    SELECT 1 FROM embeddings e WHERE e.image_id = p.image_id AND e.model = p.embedding_model AND e.row >= 0
  )
