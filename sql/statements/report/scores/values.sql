-- One metric of every image that has a result of it, with its state; the size in the header serves those that are not
-- scored. The other statements here take their values from this one.
{% if of_header %}
SELECT
    image_id, {{ metric.name }}_of(width, height)::DOUBLE AS value,
    CASE WHEN value IS NULL THEN 'failed' ELSE 'scored' END AS state,
    status || coalesce(': ' || status_reason, '') AS error
FROM images
{% else %}
SELECT
    image_id, {{ metric.name }}::DOUBLE AS value, {{ metric.name }}_state AS state, {{ metric.name }}_error AS error
FROM scores
{% endif %}
