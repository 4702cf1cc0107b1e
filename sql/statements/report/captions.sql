-- How far each style of caption has come. Lengths are few, so that their quantiles need no sorting of all captions.
WITH counted AS (
    SELECT
        style,
        count(text) AS captions,
        count(*) FILTER (text IS NULL) AS failed,
        count(DISTINCT image_id) FILTER (text IS NOT NULL) AS images,
        string_agg(DISTINCT model, ', ' ORDER BY model) AS models
    FROM captions GROUP BY style
),
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
FROM counted LEFT JOIN spread USING (style) ORDER BY style
