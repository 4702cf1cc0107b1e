-- The last id that was ever given.
SELECT greatest(
    (SELECT coalesce(max(image_id), 0) FROM images), (SELECT coalesce(max(image_id), 0) FROM retired)
)
