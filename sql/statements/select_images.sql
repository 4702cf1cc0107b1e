-- {where} is the user's own condition; the rest are the rules of `judged`. Every rule must hold, so one that was
-- not measured drops the image.
SELECT
    image_id, sha256, source, uri, byte_offset, byte_length, format, width, height,
    nsfw, aesthetic, watermark, clarity, entropy, luminance, dense, brief, alt,
    base, aspect, bucket_width, bucket_height
FROM judged(
    $min_area, $max_nsfw, $min_aesthetic, $max_watermark, $min_clarity, $min_entropy, $min_luminance, $max_luminance,
    $dedup
)
WHERE keeps_readable AND keeps_resolution AND keeps_nsfw AND keeps_aesthetic AND keeps_watermark
    AND keeps_clarity AND keeps_entropy AND keeps_luminance AND keeps_dedup
    AND ({where}
    )
ORDER BY image_id
