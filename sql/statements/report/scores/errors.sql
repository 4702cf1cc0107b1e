-- Why one metric has no value where it was tried, the most frequent first.
WITH value_of AS (
    {{ values }}
)
SELECT error AS reason, count(*) AS images
FROM value_of WHERE state = 'failed'
GROUP BY error ORDER BY images DESC, error LIMIT $shown
