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
DELETE FROM staged;
DELETE FROM arrivals;
DROP TABLE pairs;
