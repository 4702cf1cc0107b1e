-- Readable images that lack a wanted score by the wanted scorer ($METRIC is a scorer id, or NULL if not wanted), or a
-- vector of the wanted embedding model; among the ids above $after and up to $until, so that a job that asks for one
-- range after another needs no more memory for more images. With $retry also those whose score failed before, and
-- those that had a good header but could not be decoded; never those that were taken down.
SELECT i.image_id, i.uri, i.byte_offset, i.byte_length, i.sha256, i.file_size, i.file_mtime_ns
FROM images i
LEFT JOIN (FROM scores WHERE image_id > $after AND image_id <= $until) s USING (image_id)
LEFT JOIN (
    SELECT image_id, any_value(row) AS row
    FROM embeddings
    WHERE model = $embedding AND image_id > $after AND image_id <= $until
    GROUP BY image_id
) e USING (image_id)
WHERE i.image_id > $after AND i.image_id <= $until AND i.status <> 'removed'
  AND (i.status IN ('ok', 'ok-warnings') OR ($retry AND i.sha256 IS NOT NULL AND i.width IS NOT NULL))
  AND (
    ($nsfw IS NOT NULL AND (s.nsfw_state IS NULL OR s.nsfw_scorer <> $nsfw OR ($retry AND s.nsfw_state = 'failed')))
    OR ($aesthetic IS NOT NULL AND (s.aesthetic_state IS NULL OR s.aesthetic_scorer <> $aesthetic OR ($retry AND s.aesthetic_state = 'failed')))
    OR ($watermark IS NOT NULL AND (s.watermark_state IS NULL OR s.watermark_scorer <> $watermark OR ($retry AND s.watermark_state = 'failed')))
    OR ($clarity IS NOT NULL AND (s.clarity_state IS NULL OR s.clarity_scorer <> $clarity OR ($retry AND s.clarity_state = 'failed')))
    OR ($entropy IS NOT NULL AND (s.entropy_state IS NULL OR s.entropy_scorer <> $entropy OR ($retry AND s.entropy_state = 'failed')))
    OR ($luminance IS NOT NULL AND (s.luminance_state IS NULL OR s.luminance_scorer <> $luminance OR ($retry AND s.luminance_state = 'failed')))
    OR ($embedding IS NOT NULL AND (e.row IS NULL OR ($retry AND e.row < 0)))
  )
ORDER BY i.image_id
