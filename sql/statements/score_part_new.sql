-- Images that have no scores yet. The range spares reading the ids of the whole table.
INSERT INTO scores (
    image_id, nsfw, nsfw_state, nsfw_error, nsfw_scorer, aesthetic, aesthetic_state, aesthetic_error,
    aesthetic_scorer, watermark, watermark_state, watermark_error, watermark_scorer, clarity, clarity_state,
    clarity_error, clarity_scorer, entropy, entropy_state, entropy_error, entropy_scorer, luminance,
    luminance_state, luminance_error, luminance_scorer, phash
)
SELECT
    image_id, nsfw, nsfw_state, nsfw_error, nsfw_scorer, aesthetic, aesthetic_state, aesthetic_error,
    aesthetic_scorer, watermark, watermark_state, watermark_error, watermark_scorer, clarity, clarity_state,
    clarity_error, clarity_scorer, entropy, entropy_state, entropy_error, entropy_scorer, luminance,
    luminance_state, luminance_error, luminance_scorer, phash
FROM read_parquet($part) AS p
WHERE NOT EXISTS (
    SELECT 1 FROM scores AS s
    WHERE s.image_id = p.image_id
      AND s.image_id BETWEEN (SELECT min(image_id) FROM read_parquet($part))
                         AND (SELECT max(image_id) FROM read_parquet($part))
)
