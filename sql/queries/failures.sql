-- Every image that could not be used, with its reason.
SELECT image_id, status, status_reason, uri, byte_offset
FROM images WHERE status NOT IN ('ok', 'ok-warnings') ORDER BY status, image_id
