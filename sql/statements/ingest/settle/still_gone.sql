-- How many of the images that a listing missed (registered as `gone`) were not found elsewhere.
SELECT count(*) FROM images SEMI JOIN gone USING (image_id) WHERE status = 'missing'
