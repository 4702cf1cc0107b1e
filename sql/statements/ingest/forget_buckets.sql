DELETE FROM buckets WHERE image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'bytes')
