-- A cluster whose keeper goes has to be judged anew.
DELETE FROM clusters
WHERE image_id IN (SELECT image_id FROM read_parquet($part)) OR keeper_id IN (SELECT image_id FROM read_parquet($part))
