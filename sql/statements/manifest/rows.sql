-- The samples of a manifest, with the columns of samples.parquet, in its order: bucket by bucket (as $buckets lists them)
-- and format by format, so that shards hold one of each; within these by splitmix64's finaliser of the id, an order
-- without meaning, so that a shard read from its start to its end is already a random draw. 2^64 = 18446744073709551616.
SELECT * EXCLUDE (start, first, second)
FROM (
    SELECT *, ((xor(first, first >> 27))::UHUGEINT * 10723151780598845931 % 18446744073709551616)::UBIGINT AS second
    FROM (
        SELECT *, ((xor(start, start >> 30))::UHUGEINT * 13787848793156543929 % 18446744073709551616)::UBIGINT AS first
        FROM (
            SELECT
                image_id, bucket_width || 'x' || bucket_height AS bucket, NULL::VARCHAR AS shard,
                uri, byte_offset AS "offset", byte_length AS "length", sha256, format, width, height, source, caption,
                coalesce(
{% for n in (1, 2, 3) %}
                    CASE WHEN CASE $captions[{{ n }}] WHEN 'dense' THEN dense WHEN 'brief' THEN brief WHEN 'alt' THEN alt END
                        <> '' THEN $captions[{{ n }}] END{{ "" if loop.last else "," }}
{% endfor %}
                ) AS caption_style,
                brief,
{% for metric in metrics %}
                {{ metric.name }},
{% endfor %}
                file_size, file_mtime_ns,
                ((image_id::UHUGEINT + 11400714819323198485) % 18446744073709551616)::UBIGINT AS start
            FROM ({{ select }}
            )
        )
    )
)
ORDER BY list_position($buckets, bucket), format, xor(second, second >> 31)
