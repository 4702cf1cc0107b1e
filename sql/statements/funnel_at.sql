FROM funnel_at(
    $min_area, $max_nsfw, $min_aesthetic, $max_watermark, $min_clarity, $min_entropy, $min_luminance, $max_luminance,
    $dedup, $captions, sources := $sources
)
