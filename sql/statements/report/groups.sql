-- Images by {{ column }}, the most frequent first.
SELECT
    coalesce({{ column }}, 'unknown') AS name,
    count(*) AS images,
    count(*) FILTER (status IN ('ok', 'ok-warnings')) AS readable
FROM images GROUP BY {{ column }} ORDER BY count(*) DESC, name LIMIT $shown
