-- One metric of every image, with its state; `resolution` is the area in pixels. The other statements of the report on
-- scores take their values from this one.
SELECT
    i.image_id,
    i.status IN ('ok', 'ok-warnings') AS readable,
    CASE $metric
        WHEN 'resolution' THEN i.width::BIGINT * i.height
        WHEN 'nsfw' THEN s.nsfw WHEN 'aesthetic' THEN s.aesthetic WHEN 'watermark' THEN s.watermark
        WHEN 'clarity' THEN s.clarity WHEN 'entropy' THEN s.entropy WHEN 'luminance' THEN s.luminance
    END::DOUBLE AS value,
    CASE $metric
        WHEN 'resolution' THEN CASE WHEN i.width IS NULL OR i.height IS NULL THEN 'failed' ELSE 'scored' END
        WHEN 'nsfw' THEN s.nsfw_state WHEN 'aesthetic' THEN s.aesthetic_state
        WHEN 'watermark' THEN s.watermark_state WHEN 'clarity' THEN s.clarity_state
        WHEN 'entropy' THEN s.entropy_state WHEN 'luminance' THEN s.luminance_state
    END AS state,
    CASE $metric
        WHEN 'resolution' THEN i.status || coalesce(': ' || i.status_reason, '')
        WHEN 'nsfw' THEN s.nsfw_error WHEN 'aesthetic' THEN s.aesthetic_error
        WHEN 'watermark' THEN s.watermark_error WHEN 'clarity' THEN s.clarity_error
        WHEN 'entropy' THEN s.entropy_error WHEN 'luminance' THEN s.luminance_error
    END AS error,
    CASE $metric
        WHEN 'nsfw' THEN s.nsfw_scorer WHEN 'aesthetic' THEN s.aesthetic_scorer
        WHEN 'watermark' THEN s.watermark_scorer WHEN 'clarity' THEN s.clarity_scorer
        WHEN 'entropy' THEN s.entropy_scorer WHEN 'luminance' THEN s.luminance_scorer
    END AS scorer
FROM images i LEFT JOIN scores s USING (image_id)
