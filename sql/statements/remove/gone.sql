-- All that was ever taken down: ids, and sha256 of bytes (NULL where they could not be read).
SELECT image_id, sha256 FROM images WHERE status = 'removed'
UNION
SELECT NULL, sha256 FROM removed
