-- The ranges of ids below the last that no image has or had: a killed ingest committed later parts than those it lost.
SELECT previous + 1 AS first, image_id - 1 AS last
FROM (
    SELECT image_id, lag(image_id, 1, 0) OVER (ORDER BY image_id) AS previous
    FROM (SELECT image_id FROM images UNION ALL SELECT image_id FROM retired)
    WHERE (  -- else there is none to look for
        SELECT count(*) + (SELECT count(*) FROM retired) < greatest(
            max(image_id), (SELECT coalesce(max(image_id), 0) FROM retired)
        ) FROM images
    )
)
WHERE image_id > previous + 1
ORDER BY first
