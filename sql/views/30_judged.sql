-- Every rule of a selection with its verdict for every image, at thresholds of the caller's choice; a NULL
-- threshold switches its rule off. TRUE keeps, FALSE drops, NULL means not measured yet (which drops, too).
-- The rules stand in the paper's order of filters (section 2.1); `dedup` false keeps near-duplicates.
CREATE OR REPLACE MACRO judged(
    min_area, max_nsfw, min_aesthetic, max_watermark, min_clarity, min_entropy, min_luminance, max_luminance, dedup
) AS TABLE
SELECT
    *,
    status IN ('ok', 'ok-warnings') AS keeps_readable,
    CASE WHEN min_area IS NULL THEN true ELSE area >= min_area END AS keeps_resolution,
    CASE WHEN max_nsfw IS NULL THEN true ELSE nsfw <= max_nsfw END AS keeps_nsfw,
    CASE WHEN min_aesthetic IS NULL THEN true ELSE aesthetic >= min_aesthetic END AS keeps_aesthetic,
    CASE WHEN max_watermark IS NULL THEN true ELSE watermark <= max_watermark END AS keeps_watermark,
    CASE WHEN min_clarity IS NULL THEN true ELSE clarity >= min_clarity END AS keeps_clarity,
    CASE WHEN min_entropy IS NULL THEN true ELSE entropy >= min_entropy END AS keeps_entropy,
    (CASE WHEN min_luminance IS NULL THEN true ELSE luminance >= min_luminance END)
        AND (CASE WHEN max_luminance IS NULL THEN true ELSE luminance <= max_luminance END) AS keeps_luminance,
    CASE WHEN dedup THEN is_keeper ELSE true END AS keeps_dedup
FROM trainable
