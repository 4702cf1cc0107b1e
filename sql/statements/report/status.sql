-- Every state of the images with its commonest reasons.
WITH reasons AS (
    SELECT
        status, status_reason AS reason, count(*) AS images,
        row_number() OVER (PARTITION BY status ORDER BY status_reason IS NULL, count(*) DESC, status_reason) AS place
    FROM images GROUP BY status, status_reason
)
SELECT
    status,
    sum(images)::BIGINT AS images,
    count(reason) AS reasons,
    list(reason ORDER BY place) FILTER (reason IS NOT NULL AND place <= $examples) AS examples
FROM reasons
GROUP BY status
ORDER BY status IN ('ok', 'ok-warnings') DESC, status
