-- One image with every verdict. Only $peers, the members of its cluster, from which one image is kept, are judged
-- besides; the range of their ids, $first to $last, spares reading the rest of the tables.
WITH seen AS MATERIALIZED (
    FROM judged(
{% for rule in rules %}{% for limit in rule.limits %} ${{ limit }},{% endfor %}{% endfor %}
        false, $captions, sources := $sources
    )
    WHERE image_id BETWEEN $first AND $last AND list_contains($peers, image_id)
)
SELECT
    seen.* EXCLUDE (keeps_dedup),
    CASE
        WHEN NOT $dedup THEN true
        WHEN seen.cluster_id IS NULL THEN NULL
        ELSE seen.image_id = (
            SELECT image_id FROM seen
            ORDER BY passes_others DESC, is_keeper DESC, area DESC, aesthetic DESC NULLS LAST, image_id LIMIT 1
        )
    END AS keeps_dedup,
    i.status_reason, i.alt_error, s.* EXCLUDE (image_id{% for metric in metrics %}, {{ metric.name }}{% endfor %}),
    k.reason AS dedup_reason
FROM seen
JOIN images i USING (image_id)
LEFT JOIN scores s USING (image_id)
LEFT JOIN clusters k USING (image_id)
WHERE image_id = $image_id
