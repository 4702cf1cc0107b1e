-- Images with bytes that may be those of an old one, moved: only where there were images before.
INSERT INTO arrivals
SELECT image_id, CASE WHEN change = 'bytes' THEN image_id END FROM read_parquet($part)
WHERE change IN ('new', 'bytes') AND sha256 IS NOT NULL AND {{ resumed }}
