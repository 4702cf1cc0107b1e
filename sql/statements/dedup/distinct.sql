-- Readable images with different bytes: at most so many are compared by their vectors.
SELECT count(DISTINCT sha256) FROM images WHERE status IN ('ok', 'ok-warnings')
