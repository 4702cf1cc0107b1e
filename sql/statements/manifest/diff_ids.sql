-- The first images of one kind of change.
SELECT image_id FROM changes WHERE {{ column }} ORDER BY image_id LIMIT $most
