-- What was staged and is no image that was lost, with ids after all others, in the order of the listing.
INSERT INTO images BY NAME
SELECT
    * EXCLUDE (ordinal, replaces), now()::TIMESTAMP AS ingested_at,
    greatest(
        (SELECT coalesce(max(image_id), 0) FROM images), (SELECT coalesce(max(image_id), 0) FROM retired)
    ) + row_number() OVER (ORDER BY ordinal) AS image_id
FROM staged
WHERE (uri, byte_offset) NOT IN (SELECT (uri, byte_offset) FROM pairs WHERE arrival IS NULL)
ORDER BY ordinal;
UPDATE images
SET status = 'removed', status_reason = back.reason, alt_text = NULL, brief_text = NULL, dense_text = NULL, url = NULL
FROM (SELECT sha256, any_value(reason) AS reason FROM removed SEMI JOIN staged USING (sha256) GROUP BY sha256) AS back
WHERE images.sha256 = back.sha256 AND images.status <> 'removed';
DELETE FROM staged;
DELETE FROM arrivals;
DROP TABLE pairs;
