-- Other bytes need other scores; an image that is readable again, those that failed.
DELETE FROM measured
WHERE image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'bytes')
{% if scorers %}
   OR (
    image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'back')
    AND coalesce(
{% for id in scorers %}
        error_{{ id }},
{% endfor %}
        NULL
    ) IS NOT NULL
   )
{% endif %}
