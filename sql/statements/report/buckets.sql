-- Images in each bucket, and how many of them a selection takes. NULL: no bucket yet.
WITH selected AS (
    {{ selected }}
)
SELECT base, aspect, sum(images)::BIGINT AS images, sum(selected)::BIGINT AS selected
FROM (
    SELECT base, aspect, 1 AS images, 0 AS selected FROM buckets
    UNION ALL
    SELECT base, aspect, 0, 1 FROM selected
)
GROUP BY base, aspect ORDER BY base, aspect
