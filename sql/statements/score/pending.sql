-- Readable images that lack a result of a wanted scorer, or a vector of the wanted embedding model; among the ids above
-- $after and up to $until, so that a job that asks for one range after another needs no more memory for more images.
-- `wants` says which of them each lacks (embedding: 0). With $retry also those whose score failed before, and those
-- that had a good header but could not be decoded; never those that were taken down.
SELECT * FROM (
    SELECT
        i.image_id, located(i.uri) AS uri, i.byte_offset, i.byte_length, i.sha256, i.file_size, i.file_mtime_ns,
        list_filter([
{% for id in scorers %}
            CASE WHEN s.value_{{ id }} IS NULL AND (s.error_{{ id }} IS NULL OR $retry) THEN {{ id }} END,
{% endfor %}
            CASE WHEN $embedding IS NOT NULL AND (e.row IS NULL OR ($retry AND e.row < 0)) THEN 0 END
        ], lambda id: id IS NOT NULL) AS wants
    FROM images i
    LEFT JOIN (FROM measured WHERE image_id > $after AND image_id <= $until) s USING (image_id)
    LEFT JOIN (
        SELECT image_id, any_value(row) AS row
        FROM embeddings
        WHERE model = $embedding AND image_id > $after AND image_id <= $until
        GROUP BY image_id
    ) e USING (image_id)
    WHERE i.image_id > $after AND i.image_id <= $until AND i.status <> 'removed'
      AND (i.status IN ('ok', 'ok-warnings') OR ($retry AND i.sha256 IS NOT NULL AND i.width IS NOT NULL))
)
WHERE len(wants) > 0
ORDER BY image_id
