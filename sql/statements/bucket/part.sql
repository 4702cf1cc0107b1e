INSERT INTO buckets SELECT image_id, base, aspect, width, height FROM read_parquet($part)
