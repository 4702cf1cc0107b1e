-- The images by their combination of verdicts, in the order of the rules; there are few combinations, so what follows
-- costs nothing. `keeps` takes what was not measured for dropped; `rules` names them.
CREATE OR REPLACE MACRO combinations_at(
    min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance, dedup,
    styles, sources := NULL
) AS TABLE
WITH combinations AS (
    SELECT
        keeps_readable, keeps_resolution, keeps_nsfw, keeps_aesthetic, keeps_watermark, keeps_clarity, keeps_entropy,
        keeps_luminance, keeps_dedup, keeps_caption, keeps_bucket, count(*) AS images
    FROM judged(
        min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance,
        dedup, styles, sources := sources
    )
    GROUP BY ALL
)
SELECT
    [keeps_readable, keeps_resolution, keeps_nsfw, keeps_aesthetic, keeps_watermark, keeps_clarity, keeps_entropy,
     keeps_luminance, keeps_dedup, keeps_caption, keeps_bucket] AS verdicts,
    images,
    list_transform(verdicts, lambda verdict: coalesce(verdict, false)) AS keeps
FROM combinations;

CREATE OR REPLACE VIEW rules AS
SELECT unnest(range(1, 12)) AS n,
       unnest(['readable', 'resolution', 'nsfw', 'aesthetic', 'watermark', 'clarity', 'entropy', 'luminance', 'dedup',
               'caption', 'bucket']) AS rule;

-- What each rule keeps and drops. `left_over` counts what is left after this rule and those above it; `dropped`
-- what fails it, whatever the others say; `only_this` what no other rule would have dropped; `unmeasured` what is
-- readable and has no value for it yet (contained in `dropped`).
CREATE OR REPLACE MACRO funnel_at(
    min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance, dedup,
    styles, sources := NULL
) AS TABLE
WITH counted AS (
    SELECT
        *,
        len(list_filter(keeps, lambda kept: NOT kept)) AS failures,
        CASE WHEN failures = 0 THEN 12 ELSE list_position(keeps, false) END AS first_failure
    FROM combinations_at(
        min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance,
        dedup, styles, sources := sources
    )
)
SELECT
    n AS step, rule,
    coalesce(sum(images), 0)::BIGINT AS images,
    coalesce(sum(images) FILTER (NOT keeps[n]), 0)::BIGINT AS dropped,
    coalesce(sum(images) FILTER (NOT keeps[n] AND failures = 1), 0)::BIGINT AS only_this,
    coalesce(sum(images) FILTER (verdicts[n] IS NULL AND keeps[1]), 0)::BIGINT AS unmeasured,
    coalesce(sum(images) FILTER (first_failure > n), 0)::BIGINT AS left_over
FROM rules LEFT JOIN counted ON true
GROUP BY n, rule
ORDER BY n;

-- How many images both the rule of the row and that of the column drop, whatever the others say.
CREATE OR REPLACE MACRO overlaps_at(
    min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance, dedup,
    styles, sources := NULL
) AS TABLE
WITH pairs AS (
    SELECT a.n, a.rule, b.rule AS other, coalesce(sum(images) FILTER (NOT keeps[a.n] AND NOT keeps[b.n]), 0)::BIGINT AS images
    FROM rules a CROSS JOIN rules b LEFT JOIN combinations_at(
        min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance,
        dedup, styles, sources := sources
    ) ON true
    GROUP BY ALL
)
SELECT * EXCLUDE (n)
FROM (PIVOT pairs ON other IN (
    'readable', 'resolution', 'nsfw', 'aesthetic', 'watermark', 'clarity', 'entropy', 'luminance', 'dedup', 'caption',
    'bucket'
) USING sum(images)::BIGINT GROUP BY n, rule)
ORDER BY n;

-- The funnel at the default thresholds.
CREATE OR REPLACE VIEW funnel AS
FROM funnel_at(
    (SELECT min_area FROM thresholds), (SELECT max_nsfw FROM thresholds), (SELECT min_aesthetic FROM thresholds),
    (SELECT max_watermark FROM thresholds), (SELECT min_clarity FROM thresholds),
    (SELECT min_entropy FROM thresholds), (SELECT min_luminance FROM thresholds),
    (SELECT max_luminance FROM thresholds), true, ['dense', 'alt']
)
