-- Other bytes need other scores; an image that is readable again, those that failed.
DELETE FROM scores
WHERE image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'bytes')
   OR (
    image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'back')
    AND 'failed' IN (nsfw_state, aesthetic_state, watermark_state, clarity_state, entropy_state, luminance_state)
   )
