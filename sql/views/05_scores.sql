-- One row per scored image, with each metric by the scorer in use: value, state (NULL: missing, 'failed' or 'scored'),
-- reason of a failure, and the scorer's id. What the other scorers of a metric measured stays in `measured`.
CREATE OR REPLACE VIEW scores AS
SELECT
    image_id,
{% for metric in metrics %}
{% set id = in_use.get(metric.name) %}
{% if id %}
    value_{{ id }} AS {{ metric.name }},
    CASE WHEN value_{{ id }} IS NOT NULL THEN 'scored' WHEN error_{{ id }} IS NOT NULL THEN 'failed' END
        AS {{ metric.name }}_state,
    error_{{ id }} AS {{ metric.name }}_error,
    CASE WHEN value_{{ id }} IS NOT NULL OR error_{{ id }} IS NOT NULL THEN {{ id }} END AS {{ metric.name }}_scorer,
{% else %}
    NULL::FLOAT AS {{ metric.name }}, NULL::VARCHAR AS {{ metric.name }}_state,
    NULL::VARCHAR AS {{ metric.name }}_error, NULL::INTEGER AS {{ metric.name }}_scorer,
{% endif %}
{% endfor %}
    phash
FROM measured
