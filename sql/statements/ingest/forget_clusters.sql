-- Also what was dropped in favour of an image that is another one now, or gone: dedup judges it anew.
DELETE FROM clusters
WHERE image_id IN (SELECT image_id FROM read_parquet($part) WHERE change IN ('bytes', 'lost', 'other'))
   OR keeper_id IN (SELECT image_id FROM read_parquet($part) WHERE change IN ('bytes', 'lost', 'other'))
