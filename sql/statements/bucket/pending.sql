SELECT i.image_id, i.width, i.height
FROM images i
WHERE i.image_id > $after AND i.image_id <= $until AND i.status IN ('ok', 'ok-warnings') AND i.width IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM buckets b WHERE b.image_id > $after AND b.image_id <= $until AND b.image_id = i.image_id)
ORDER BY i.image_id
