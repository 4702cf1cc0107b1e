-- Values of one metric in $bins equal bins between $lo and $hi (in log10 of the value if $log), split by the
-- thresholds; what lies outside is counted in the first or the last bin.
WITH value_of AS (
    {{ values }}
),
placed AS (
    SELECT
        CASE WHEN $log THEN log10(greatest(value, 1e-9)) ELSE value END AS x,
        coalesce(value < $min, false) OR coalesce(value > $max, false) AS fails
    FROM value_of
    WHERE value IS NOT NULL
)
SELECT
    greatest(0, least($bins - 1, floor((x - $lo) / ($hi - $lo) * $bins)))::INTEGER AS bin,
    count(*) AS images,
    count(*) FILTER (NOT fails) AS kept,
    count(*) FILTER (fails) AS dropped
FROM placed GROUP BY bin ORDER BY bin
