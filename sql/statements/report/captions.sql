-- How far each style of caption has come. Quantiles are taken of the lengths, which are few, and images counted as bits
-- of blocks of 32 ids, so that memory holds neither all lengths nor all ids.
WITH counted AS (
    SELECT
        style,
        sum(captions)::BIGINT AS captions,
        sum(failed)::BIGINT AS failed,
        coalesce(sum(bit_count(seen)), 0)::BIGINT AS images
    FROM (
        SELECT
            style,
            count(text) AS captions,
            count(*) FILTER (text IS NULL) AS failed,
            bit_or(1::BIGINT << (image_id % 32)::INTEGER) FILTER (text IS NOT NULL) AS seen
        FROM captions GROUP BY style, image_id // 32
    )
    GROUP BY style
),
named AS (SELECT style, string_agg(DISTINCT model, ', ' ORDER BY model) AS models FROM captions GROUP BY style),
lengths AS (SELECT style, words, count(*) AS captions FROM captions WHERE text IS NOT NULL GROUP BY style, words),
placed AS (
    SELECT
        lengths.*,
        sum(lengths.captions) OVER (PARTITION BY style ORDER BY words)
            / sum(lengths.captions) OVER (PARTITION BY style) AS share
    FROM lengths
),
spread AS (
    SELECT
        style,
        min(words) AS lowest,
        min(words) FILTER (share >= 0.5) AS median,
        min(words) FILTER (share >= 0.99) AS nearly_all,
        max(words) AS highest
    FROM placed GROUP BY style
)
FROM counted JOIN named USING (style) LEFT JOIN spread USING (style) ORDER BY style
