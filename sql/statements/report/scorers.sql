-- Who measured one metric.
WITH value_of AS (
    {{ values }}
)
SELECT r.name, r.revision, r.preprocessing, r.tier, count(*) AS images
FROM value_of LEFT JOIN scorers r ON r.scorer_id = value_of.scorer
WHERE state = 'scored'
GROUP BY ALL ORDER BY images DESC, r.name, r.revision
