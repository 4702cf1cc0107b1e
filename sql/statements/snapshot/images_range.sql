SELECT count(*) AS images, min(image_id) AS first, max(image_id) AS last FROM images
