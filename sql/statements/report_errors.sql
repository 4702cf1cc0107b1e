-- Why one metric has no value where it was tried, commonest first.
WITH measured AS (
    {values}
)
SELECT error AS reason, count(*) AS images
FROM measured WHERE state = 'failed'
GROUP BY error ORDER BY images DESC, error LIMIT $shown
