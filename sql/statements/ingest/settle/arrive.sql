-- New images that may be old ones, moved: only where there were images before.
INSERT INTO arrivals
SELECT image_id FROM read_parquet($part)
WHERE change = 'new' AND sha256 IS NOT NULL AND {{ resumed }}
