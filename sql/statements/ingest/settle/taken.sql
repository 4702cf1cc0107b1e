-- Which images of a part (the Parquet file $part) were taken down before, under whatever name: by status, and whether
-- they are new.
SELECT status, change = 'new' OR image_id IS NULL AS added, count(*) AS images
FROM read_parquet($part) SEMI JOIN removed USING (sha256)
WHERE change <> 'file'
GROUP BY ALL
