-- Images per kind of source and format, those that pass every default filter, megapixels and gigabytes.
SELECT source, format, count(*) AS images, count(*) FILTER (j.passes_others AND j.keeps_dedup) AS selected,
       round(sum(i.width::BIGINT * i.height) / 1e6, 1) AS megapixels, round(sum(i.byte_length) / 1e9, 3) AS gigabytes
FROM images i
JOIN (SELECT image_id, passes_others, keeps_dedup FROM judged_at_defaults) j USING (image_id)
GROUP BY source, format ORDER BY images DESC, source, format
