-- How far one metric has come. `missing` can still be scored; `unreadable` was found broken before it was its turn.
-- Only the broken images, which are few, are joined to the results, so that memory does not hold all ids.
WITH value_of AS (
    {{ values }}
),
broken AS (SELECT image_id, true AS is_broken FROM images WHERE status NOT IN ('ok', 'ok-warnings')),
whole AS (SELECT count(*) AS images, count(*) FILTER (status NOT IN ('ok', 'ok-warnings')) AS broken FROM images),
tried AS (
    SELECT
        count(*) FILTER (state = 'scored') AS scored,
        count(*) FILTER (state = 'failed') AS failed,
        count(state) FILTER (is_broken) AS of_broken,
        count(*) FILTER (value < $min OR value > $max) AS dropped,
        min(value) AS lowest,
        min(value) FILTER (value > 0) AS lowest_positive,
        max(value) AS highest
    FROM value_of LEFT JOIN broken USING (image_id)
)
SELECT
    tried.* EXCLUDE (of_broken),
    whole.broken - of_broken AS unreadable,
    whole.images - scored - failed - unreadable AS missing
FROM tried CROSS JOIN whole
