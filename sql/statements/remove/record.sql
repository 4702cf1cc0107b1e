-- The bytes of the images, so that they are known under whatever name they come back.
INSERT INTO removed
SELECT DISTINCT sha256, $reason, now()::TIMESTAMP
FROM images
WHERE image_id IN (SELECT image_id FROM read_parquet($part)) AND sha256 IS NOT NULL
  AND sha256 NOT IN (SELECT sha256 FROM removed)
