-- One metric of every image, with its state; `area` is that in pixels. The other statements of the report on scores take
-- their values from this one.
SELECT
    i.image_id,
    i.status IN ('ok', 'ok-warnings') AS readable,
{% if metric == "area" %}
    (i.width::BIGINT * i.height)::DOUBLE AS value,
    CASE WHEN i.width IS NULL OR i.height IS NULL THEN 'failed' ELSE 'scored' END AS state,
    i.status || coalesce(': ' || i.status_reason, '') AS error,
    NULL::INTEGER AS scorer
FROM images i
{% else %}
    s.{{ metric }}::DOUBLE AS value, s.{{ metric }}_state AS state, s.{{ metric }}_error AS error,
    s.{{ metric }}_scorer AS scorer
FROM images i LEFT JOIN scores s USING (image_id)
{% endif %}
