SELECT image_id, status, status_reason FROM images WHERE image_id = $image_id
