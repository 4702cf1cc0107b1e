SELECT judged.*, i.status_reason, s.* EXCLUDE (image_id, nsfw, aesthetic, watermark, clarity, entropy, luminance),
       k.reason AS dedup_reason
FROM judged(
    $min_area, $max_nsfw, $min_aesthetic, $max_watermark, $min_clarity, $min_entropy, $min_luminance, $max_luminance,
    $dedup, $captions
) AS judged
JOIN images i USING (image_id)
LEFT JOIN scores s USING (image_id)
LEFT JOIN clusters k USING (image_id)
WHERE image_id = $image_id
