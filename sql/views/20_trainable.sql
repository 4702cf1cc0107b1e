-- One row an image: what is known of it, ready for a WHERE. NULL means not measured yet.
CREATE OR REPLACE VIEW trainable AS
WITH latest_caption AS (
    SELECT
        image_id,
        arg_max(text, created_at) FILTER (style = 'dense') AS dense,
        arg_max(text, created_at) FILTER (style = 'brief') AS brief,
        arg_max(text, created_at) FILTER (style = 'alt')   AS alt
    FROM captions
    WHERE text IS NOT NULL
    GROUP BY image_id
)
SELECT
    i.image_id, i.sha256, i.source, i.uri, folder_of(i.uri) AS folder, i.byte_offset, i.byte_length, i.format,
    i.frames, i.status, i.width, i.height, area_of(i.width, i.height) AS area,
    elongation_of(i.width, i.height) AS elongation,
{% for metric in columns %}
    s.{{ metric }},
{% endfor %}
    k.keeper_id, k.keeper_id = i.image_id AS is_keeper, k.cluster_id, k.similarity, k.members,
    c.dense, c.brief, c.alt,
    b.base, b.aspect, b.width AS bucket_width, b.height AS bucket_height,
    i.licence, i.url, i.file_size, i.file_mtime_ns
FROM images i
LEFT JOIN scores s USING (image_id)
LEFT JOIN clusters k USING (image_id)
LEFT JOIN latest_caption c USING (image_id)
LEFT JOIN buckets b USING (image_id)
