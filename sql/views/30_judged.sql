-- Every rule of a selection with its verdict for every image, at thresholds of the caller's choice; a NULL
-- threshold switches its rule off, and `styles` lists the caption styles that may serve, best first; `sources`
-- lists the kinds of source to judge, all if NULL. TRUE keeps, FALSE drops, NULL means not measured yet (which drops,
-- too). The rules stand in the paper's order of filters (section 2.1), then deduplication, then what training needs
-- besides: a caption and a bucket.
CREATE OR REPLACE MACRO judged(
    min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance, dedup,
    styles, sources := NULL
) AS TABLE
WITH ruled AS (
    SELECT
        *,
        coalesce(
            CASE styles[1] WHEN 'dense' THEN nullif(dense, '') WHEN 'brief' THEN nullif(brief, '') WHEN 'alt' THEN nullif(alt, '') END,
            CASE styles[2] WHEN 'dense' THEN nullif(dense, '') WHEN 'brief' THEN nullif(brief, '') WHEN 'alt' THEN nullif(alt, '') END,
            CASE styles[3] WHEN 'dense' THEN nullif(dense, '') WHEN 'brief' THEN nullif(brief, '') WHEN 'alt' THEN nullif(alt, '') END
        ) AS caption,
        status IN ('ok', 'ok-warnings') AS keeps_readable,
        CASE WHEN min_area IS NULL THEN true ELSE area >= min_area END AS keeps_resolution,
        CASE WHEN max_nsfw IS NULL THEN true ELSE nsfw <= max_nsfw END AS keeps_nsfw,
        CASE WHEN min_aesthetic IS NULL THEN true ELSE aesthetic >= min_aesthetic END AS keeps_aesthetic,
        CASE WHEN max_watermark IS NULL THEN true ELSE watermark <= max_watermark END AS keeps_watermark,
        CASE WHEN min_clarity IS NULL THEN true ELSE clarity >= min_clarity END AS keeps_clarity,
        CASE WHEN min_entropy IS NULL THEN true ELSE entropy >= min_entropy END AS keeps_entropy,
        (CASE WHEN min_luminance IS NULL THEN true ELSE luminance >= min_luminance END)
            AND (CASE WHEN max_luminance IS NULL THEN true ELSE luminance <= max_luminance END) AS keeps_luminance,
        CASE WHEN base IS NULL THEN NULL ELSE true END AS keeps_bucket
    FROM trainable
    WHERE sources IS NULL OR list_contains(sources, source)
),
passed AS NOT MATERIALIZED (
    SELECT
        *,
        CASE WHEN caption IS NULL THEN NULL ELSE true END AS keeps_caption,
        coalesce(
            keeps_readable AND keeps_resolution AND keeps_nsfw AND keeps_aesthetic AND keeps_watermark
            AND keeps_clarity AND keeps_entropy AND keeps_luminance AND keeps_bucket AND caption IS NOT NULL, false
        ) AS passes_others
    FROM ruled
)
-- One image of a cluster is kept: its keeper, or where the keeper fails another rule, the best that passes. Only
-- clusters of several images, which are few, need their members compared.
SELECT *, CASE WHEN NOT dedup OR cluster_id IS NOT NULL THEN true END AS keeps_dedup
FROM passed
WHERE NOT dedup OR cluster_id IS NULL OR members = 1
UNION ALL
SELECT
    *,
    image_id = first_value(image_id) OVER (
        PARTITION BY cluster_id
        ORDER BY passes_others DESC, is_keeper DESC, area DESC, aesthetic DESC NULLS LAST, image_id
    ) AS keeps_dedup
FROM passed
WHERE dedup AND cluster_id IS NOT NULL AND members IS DISTINCT FROM 1;

-- As `judged`, at the default thresholds.
CREATE OR REPLACE VIEW judged_at_defaults AS
FROM judged(
    (SELECT min_area FROM thresholds), (SELECT max_nsfw FROM thresholds), (SELECT min_aesthetic FROM thresholds),
    (SELECT max_watermark FROM thresholds), (SELECT min_clarity FROM thresholds),
    (SELECT min_entropy FROM thresholds), (SELECT min_luminance FROM thresholds),
    (SELECT max_luminance FROM thresholds), true, ['dense', 'alt']
)
