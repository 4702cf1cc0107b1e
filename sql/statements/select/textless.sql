-- Readable images that have no caption in any of the styles $captions and whose source gives no text for one.
SELECT count(*)
FROM images i
WHERE i.status IN ('ok', 'ok-warnings') AND ($sources IS NULL OR list_contains($sources, i.source))
  AND NOT (list_contains($captions, 'alt') AND i.alt_text IS NOT NULL)
  AND NOT (list_contains($captions, 'brief') AND i.brief_text IS NOT NULL)
  AND NOT (list_contains($captions, 'dense') AND i.dense_text IS NOT NULL)
  AND i.image_id NOT IN (
    SELECT image_id FROM captions WHERE text IS NOT NULL AND list_contains($captions, style)
  )
