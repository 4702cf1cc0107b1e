-- Images per training bucket, all and those that pass every default filter.
SELECT b.base, b.aspect, b.width, b.height, count(*) AS images,
       count(*) FILTER (j.passes_others AND j.keeps_dedup) AS selected
FROM buckets b
JOIN judged_at_defaults j USING (image_id)
GROUP BY b.base, b.aspect, b.width, b.height ORDER BY b.base, b.width
