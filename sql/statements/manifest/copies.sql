-- Where else the bytes are that the rows registered as `lost` (sha256, uri, byte_offset) could not give.
SELECT i.sha256, located(i.uri) AS uri, i.byte_offset, i.file_size, i.file_mtime_ns
FROM images i
WHERE i.sha256 IN (SELECT sha256 FROM lost) AND i.status IN ('ok', 'ok-warnings')
  AND NOT EXISTS (SELECT 1 FROM lost WHERE lost.uri = located(i.uri) AND lost.byte_offset = i.byte_offset AND lost.sha256 = i.sha256)
ORDER BY i.sha256, i.image_id
