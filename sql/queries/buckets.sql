-- Images per training bucket, all and those that pass every default filter.
SELECT b.base, b.aspect, b.width, b.height, count(*) AS images,
       count(*) FILTER (
           j.keeps_readable AND j.keeps_resolution AND j.keeps_nsfw AND j.keeps_aesthetic AND j.keeps_watermark
           AND j.keeps_clarity AND j.keeps_entropy AND j.keeps_luminance AND j.keeps_dedup
       ) AS selected
FROM buckets b
JOIN judged(
    (SELECT min_area FROM thresholds), (SELECT max_nsfw FROM thresholds), (SELECT min_aesthetic FROM thresholds),
    (SELECT max_watermark FROM thresholds), (SELECT min_clarity FROM thresholds),
    (SELECT min_entropy FROM thresholds), (SELECT min_luminance FROM thresholds),
    (SELECT max_luminance FROM thresholds), true
) j USING (image_id)
GROUP BY b.base, b.aspect, b.width, b.height ORDER BY b.base, b.width
