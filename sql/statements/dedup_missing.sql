SELECT
    count(*) FILTER (e.image_id IS NULL) AS unembedded,
    count(*) FILTER (e.image_id IS NOT NULL AND c.image_id IS NULL) AS unclustered
FROM images i
LEFT JOIN (SELECT DISTINCT image_id FROM embeddings WHERE model = $model) e USING (image_id)
LEFT JOIN clusters c USING (image_id)
WHERE i.status IN ('ok', 'ok-warnings')
