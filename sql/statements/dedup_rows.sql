-- What deduplication needs, best keeper first: the largest image, then the best aesthetic score, then the oldest id.
SELECT i.image_id, i.sha256, e.part, e.row, s.phash
FROM images i
JOIN embeddings e ON e.image_id = i.image_id AND e.model = $model AND e.row >= 0
LEFT JOIN scores s ON s.image_id = i.image_id
WHERE i.status IN ('ok', 'ok-warnings')
ORDER BY i.width::BIGINT * i.height DESC, s.aesthetic DESC NULLS LAST, i.image_id
