-- Bytes that were taken down stay so under whatever name they come back.
UPDATE images
SET status = 'removed', status_reason = back.reason, alt_text = NULL, brief_text = NULL, dense_text = NULL, url = NULL
FROM (
    SELECT p.image_id, any_value(r.reason) AS reason
    FROM read_parquet($part) AS p
    JOIN removed r USING (sha256)
    WHERE p.change <> 'other'  -- whose image_id is of what stood there before
    GROUP BY p.image_id
) AS back
WHERE images.image_id = back.image_id AND images.status <> 'removed'
