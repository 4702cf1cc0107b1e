SELECT coalesce(max(image_id), 0) FROM images
