-- Images that pass every rule of `judged` and the condition of the caller, which stands in the braces. Every rule must
-- hold, so one that was not measured drops the image. Of each cluster of duplicates one image is taken among those
-- that pass: its keeper if it does, else the best.
WITH passing AS NOT MATERIALIZED (
    FROM judged(
{% for rule in rules %}{% for limit in rule.limits %} ${{ limit }},{% endfor %}{% endfor %}
        false, $captions, sources := $sources
    )
    WHERE passes_others AND (NOT $dedup OR cluster_id IS NOT NULL)
        AND ({{ where }}
        )
),
one_each AS (
    FROM passing WHERE NOT $dedup OR members = 1
    UNION ALL
    FROM passing WHERE $dedup AND members IS DISTINCT FROM 1
    QUALIFY image_id = first_value(image_id) OVER (
        PARTITION BY cluster_id ORDER BY is_keeper DESC, area DESC, aesthetic DESC NULLS LAST, image_id
    )
)
SELECT
    image_id, sha256, source, located(uri) AS uri, byte_offset, byte_length, format, width, height,
{% for metric in metrics %}
    {{ metric.name }},
{% endfor %}
    caption, dense, brief, alt,
    base, aspect, bucket_width, bucket_height, file_size, file_mtime_ns
FROM one_each
ORDER BY image_id
