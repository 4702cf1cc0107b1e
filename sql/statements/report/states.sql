-- How far one metric has come. `missing` can still be scored; `unreadable` was found broken before it was its turn.
WITH value_of AS (
    {{ values }}
)
SELECT
    count(*) FILTER (state = 'scored') AS scored,
    count(*) FILTER (state = 'failed') AS failed,
    count(*) FILTER (state IS NULL AND readable) AS missing,
    count(*) FILTER (state IS NULL AND NOT readable) AS unreadable,
    count(*) FILTER (value < $min OR value > $max) AS dropped,
    min(value) AS lowest,
    min(value) FILTER (value > 0) AS lowest_positive,
    max(value) AS highest
FROM value_of
