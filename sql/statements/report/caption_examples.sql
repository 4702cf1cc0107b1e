-- A random few captions of one style: by a hash of the id, so the same ones each time.
SELECT image_id, model, words, left(text, $letters) AS text, greatest(length(text) - $letters, 0) AS cut
FROM captions WHERE style = $style AND text IS NOT NULL
ORDER BY md5('caption ' || image_id), created_at LIMIT $shown
