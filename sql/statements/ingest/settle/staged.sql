-- What stands in the place of other bytes (then image_id is theirs), or in a tar that is known from before.
INSERT INTO staged BY NAME
SELECT * EXCLUDE (image_id, change, text_changed), image_id AS replaces
FROM read_parquet($part)
WHERE change = 'other'
