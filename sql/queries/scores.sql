-- Quantiles of every score, and how many images are scored, failed and missing.
WITH long AS (
    UNPIVOT (SELECT image_id, nsfw, aesthetic, watermark, clarity, entropy, luminance FROM scores)
    ON nsfw, aesthetic, watermark, clarity, entropy, luminance INTO NAME metric VALUE score
),
states AS (
    UNPIVOT (
        SELECT image_id, nsfw_state AS nsfw, aesthetic_state AS aesthetic, watermark_state AS watermark,
               clarity_state AS clarity, entropy_state AS entropy, luminance_state AS luminance
        FROM scores
    ) ON nsfw, aesthetic, watermark, clarity, entropy, luminance INTO NAME metric VALUE state
)
SELECT
    s.metric, s.scored, s.failed, (SELECT count(*) FROM images) - s.scored - s.failed AS missing,
    round(q.v[1]::DOUBLE, 4) AS "1%", round(q.v[2]::DOUBLE, 4) AS "10%", round(q.v[3]::DOUBLE, 4) AS "50%", round(q.v[4]::DOUBLE, 4) AS "90%",
    round(q.v[5]::DOUBLE, 4) AS "99%"
FROM (
    SELECT metric, count(*) FILTER (state = 'scored') AS scored, count(*) FILTER (state = 'failed') AS failed
    FROM states GROUP BY metric
) s
LEFT JOIN (
    SELECT metric, quantile_cont(score, [0.01, 0.1, 0.5, 0.9, 0.99]) AS v FROM long GROUP BY metric
) q USING (metric)
ORDER BY s.metric
