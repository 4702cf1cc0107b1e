-- The ranges of ids below the last that no image has: a killed ingest committed later parts than those it lost.
SELECT previous + 1 AS first, image_id - 1 AS last
FROM (
    SELECT image_id, lag(image_id, 1, 0) OVER (ORDER BY image_id) AS previous
    FROM images
    WHERE (SELECT count(*) < max(image_id) FROM images)  -- else there is none to look for
)
WHERE image_id > previous + 1
ORDER BY first
