-- How far one metric has come. `missing` can still be scored; `unreadable` was found broken before it was its turn.
WITH value_of AS (
    {{ values }}
)
SELECT
    count(*) FILTER (state = 'scored') AS scored,
    count(*) FILTER (state = 'failed') AS failed,
    count(*) FILTER (state IS NULL AND i.status IN ('ok', 'ok-warnings')) AS missing,
    count(*) FILTER (state IS NULL AND i.status NOT IN ('ok', 'ok-warnings')) AS unreadable,
    count(*) FILTER (value < $min OR value > $max) AS dropped,
    min(value) AS lowest,
    min(value) FILTER (value > 0) AS lowest_positive,
    max(value) AS highest
FROM images i LEFT JOIN value_of USING (image_id)
