-- Images by source, the largest first.
SELECT source AS name, count(*) AS images, count(*) FILTER (status IN ('ok', 'ok-warnings')) AS readable
FROM images GROUP BY source ORDER BY count(*) DESC, source LIMIT $shown
