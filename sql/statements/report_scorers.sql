-- Who measured one metric.
WITH measured AS (
    {values}
)
SELECT r.name, r.revision, r.preprocessing, r.tier, count(*) AS images
FROM measured LEFT JOIN scorers r ON r.scorer_id = measured.scorer
WHERE state = 'scored'
GROUP BY ALL ORDER BY images DESC, r.name, r.revision
