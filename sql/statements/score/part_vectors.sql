-- MERGE reads only those row groups that can hold the part's ids, however these are scattered.
MERGE INTO embeddings AS e
USING (FROM read_parquet($part) WHERE embedding_model IS NOT NULL) AS p
ON e.image_id = p.image_id AND e.model = p.embedding_model AND e.row >= 0
WHEN NOT MATCHED THEN INSERT (image_id, model, part, row, error)
VALUES (p.image_id, p.embedding_model, $part_id, p.embedding_row, p.embedding_error)
