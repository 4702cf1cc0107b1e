DELETE FROM measured WHERE image_id IN (SELECT image_id FROM read_parquet($part))
