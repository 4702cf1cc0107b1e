-- What no longer holds of images that were found, and all of the ids that prove to be theirs.
DELETE FROM captions
WHERE image_id IN (SELECT arrival FROM pairs)
   OR ((style = 'alt' OR model = 'source') AND image_id IN (SELECT image_id FROM pairs WHERE text_changed));
DELETE FROM embeddings
WHERE image_id IN (SELECT arrival FROM pairs)
   OR (row < 0 AND image_id IN (SELECT image_id FROM pairs WHERE missing));
DELETE FROM buckets WHERE image_id IN (SELECT arrival FROM pairs);
DELETE FROM clusters
WHERE image_id IN (SELECT arrival FROM pairs) OR keeper_id IN (SELECT arrival FROM pairs);
DELETE FROM measured
WHERE image_id IN (SELECT arrival FROM pairs)
{% if scorers %}
   OR (
    image_id IN (SELECT image_id FROM pairs WHERE missing)
    AND coalesce(
{% for id in scorers %}
        error_{{ id }},
{% endfor %}
        NULL
    ) IS NOT NULL
   )
{% endif %};
INSERT INTO retired SELECT arrival, image_id FROM pairs WHERE arrival IS NOT NULL;
DELETE FROM images WHERE image_id IN (SELECT arrival FROM pairs);
