-- The images of the given ids, and those with the same bytes.
SELECT image_id FROM images WHERE list_contains($ids, image_id)
UNION
SELECT image_id FROM images
WHERE sha256 IN (SELECT sha256 FROM images WHERE list_contains($ids, image_id) AND sha256 IS NOT NULL)
