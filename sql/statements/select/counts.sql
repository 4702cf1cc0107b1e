-- How many images a selection takes from each bucket and source.
SELECT bucket_width || 'x' || bucket_height AS bucket, source, count(*) AS images
FROM ({{ select }}
)
GROUP BY ALL
