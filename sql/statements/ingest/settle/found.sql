-- How many lost images were found, how many of them in the place of others, and how many of the rest with warnings.
SELECT
    count(*) AS moved, count(replaces) AS replacing,
    count(*) FILTER (replaces IS NULL AND status = 'ok-warnings') AS warned
FROM (
{{ pairs }}
)
