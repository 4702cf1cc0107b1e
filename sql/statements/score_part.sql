-- Images that were scored before: see score_part_new.sql for the others. A part carries every metric; one whose state
-- is NULL was not asked for and leaves the column as it is. Ids beyond the last one in the table need not be looked for.
MERGE INTO scores AS s
USING (FROM read_parquet($part) WHERE image_id <= (SELECT max(image_id) FROM scores)) AS p
ON s.image_id = p.image_id
WHEN MATCHED THEN UPDATE SET
    nsfw = CASE WHEN p.nsfw_state IS NULL THEN s.nsfw ELSE p.nsfw END,
    nsfw_state = CASE WHEN p.nsfw_state IS NULL THEN s.nsfw_state ELSE p.nsfw_state END,
    nsfw_error = CASE WHEN p.nsfw_state IS NULL THEN s.nsfw_error ELSE p.nsfw_error END,
    nsfw_scorer = CASE WHEN p.nsfw_state IS NULL THEN s.nsfw_scorer ELSE p.nsfw_scorer END,
    aesthetic = CASE WHEN p.aesthetic_state IS NULL THEN s.aesthetic ELSE p.aesthetic END,
    aesthetic_state = CASE WHEN p.aesthetic_state IS NULL THEN s.aesthetic_state ELSE p.aesthetic_state END,
    aesthetic_error = CASE WHEN p.aesthetic_state IS NULL THEN s.aesthetic_error ELSE p.aesthetic_error END,
    aesthetic_scorer = CASE WHEN p.aesthetic_state IS NULL THEN s.aesthetic_scorer ELSE p.aesthetic_scorer END,
    watermark = CASE WHEN p.watermark_state IS NULL THEN s.watermark ELSE p.watermark END,
    watermark_state = CASE WHEN p.watermark_state IS NULL THEN s.watermark_state ELSE p.watermark_state END,
    watermark_error = CASE WHEN p.watermark_state IS NULL THEN s.watermark_error ELSE p.watermark_error END,
    watermark_scorer = CASE WHEN p.watermark_state IS NULL THEN s.watermark_scorer ELSE p.watermark_scorer END,
    clarity = CASE WHEN p.clarity_state IS NULL THEN s.clarity ELSE p.clarity END,
    clarity_state = CASE WHEN p.clarity_state IS NULL THEN s.clarity_state ELSE p.clarity_state END,
    clarity_error = CASE WHEN p.clarity_state IS NULL THEN s.clarity_error ELSE p.clarity_error END,
    clarity_scorer = CASE WHEN p.clarity_state IS NULL THEN s.clarity_scorer ELSE p.clarity_scorer END,
    entropy = CASE WHEN p.entropy_state IS NULL THEN s.entropy ELSE p.entropy END,
    entropy_state = CASE WHEN p.entropy_state IS NULL THEN s.entropy_state ELSE p.entropy_state END,
    entropy_error = CASE WHEN p.entropy_state IS NULL THEN s.entropy_error ELSE p.entropy_error END,
    entropy_scorer = CASE WHEN p.entropy_state IS NULL THEN s.entropy_scorer ELSE p.entropy_scorer END,
    luminance = CASE WHEN p.luminance_state IS NULL THEN s.luminance ELSE p.luminance END,
    luminance_state = CASE WHEN p.luminance_state IS NULL THEN s.luminance_state ELSE p.luminance_state END,
    luminance_error = CASE WHEN p.luminance_state IS NULL THEN s.luminance_error ELSE p.luminance_error END,
    luminance_scorer = CASE WHEN p.luminance_state IS NULL THEN s.luminance_scorer ELSE p.luminance_scorer END,
    phash = coalesce(p.phash, s.phash)
