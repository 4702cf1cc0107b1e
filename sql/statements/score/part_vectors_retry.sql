-- A vector that failed before and is computed again replaces the failure.
DELETE FROM embeddings e USING read_parquet($part) p
WHERE e.image_id = p.image_id AND e.model = p.embedding_model AND e.row < 0
