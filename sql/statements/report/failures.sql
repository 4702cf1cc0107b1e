-- The images that are not plainly ok, failures first.
SELECT image_id, status, status_reason AS reason, source, format, uri, byte_offset
FROM images WHERE status <> 'ok'
ORDER BY status = 'ok-warnings', status, image_id LIMIT $shown
