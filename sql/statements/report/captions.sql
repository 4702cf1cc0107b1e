-- How far each style of caption has come.
SELECT
    style,
    count(text) AS captions,
    count(*) FILTER (text IS NULL) AS failed,
    count(DISTINCT image_id) FILTER (text IS NOT NULL) AS images,
    string_agg(DISTINCT model, ', ' ORDER BY model) AS models,
    min(words) AS lowest,
    quantile_disc(words, 0.5) AS median,
    quantile_disc(words, 0.99) AS nearly_all,
    max(words) AS highest
FROM captions GROUP BY style ORDER BY style
