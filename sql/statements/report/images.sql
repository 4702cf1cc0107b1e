-- What the report shows of the images it pictures: where their bytes are, their size, and their best caption.
WITH wanted AS (SELECT unnest($ids::BIGINT[]) AS image_id),
texts AS (
    SELECT
        image_id,
        arg_max(text, created_at) FILTER (style = 'dense') AS dense,
        arg_max(text, created_at) FILTER (style = 'brief') AS brief,
        arg_max(text, created_at) FILTER (style = 'alt')   AS alt
    FROM captions
    WHERE text IS NOT NULL AND image_id IN (FROM wanted)
    GROUP BY image_id
)
SELECT
    i.image_id, located(i.uri) AS uri, i.byte_offset, i.byte_length, i.width, i.height,
    left(coalesce(t.dense, t.brief, t.alt, i.alt_text), $letters) AS caption
FROM images i SEMI JOIN wanted USING (image_id)
LEFT JOIN texts t USING (image_id)
ORDER BY i.image_id
