-- The $shown readable images nearest to a threshold on either side, nearest first. A value equal to the threshold is
-- kept. The values are read twice, since keeping all of them for the second time takes memory.
WITH value_of AS NOT MATERIALIZED (
    {{ values }}
),
judged AS NOT MATERIALIZED (
    SELECT image_id, value, abs(value - $threshold) AS distance,
           CASE WHEN $is_max THEN value <= $threshold ELSE value >= $threshold END AS kept
    FROM value_of ANTI JOIN (FROM images WHERE status NOT IN ('ok', 'ok-warnings')) USING (image_id)
    WHERE value IS NOT NULL
)
FROM (FROM judged WHERE NOT kept ORDER BY distance, image_id LIMIT $shown)
UNION ALL
FROM (FROM judged WHERE kept ORDER BY distance, image_id LIMIT $shown)
ORDER BY kept, distance, image_id
