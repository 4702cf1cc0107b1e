-- Images by file format, the commonest first.
SELECT
    coalesce(format, 'unknown') AS name,
    count(*) AS images,
    count(*) FILTER (status IN ('ok', 'ok-warnings')) AS readable
FROM images GROUP BY format ORDER BY count(*) DESC, name LIMIT $shown
