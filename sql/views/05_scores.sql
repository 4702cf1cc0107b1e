-- One row per scored image, with each metric by the scorer in use: value, state (NULL: missing, 'failed' or 'scored'),
-- reason of a failure, and the scorer's id. A metric that only another Lens's registry knows has its columns, too. What the other scorers of a metric measured stays in `measured`.
CREATE OR REPLACE VIEW scores AS
SELECT
    image_id,
{% for metric in columns %}
{% set id = in_use.get(metric) %}
{% if id %}
    value_{{ id }} AS {{ metric }},
    CASE WHEN value_{{ id }} IS NOT NULL THEN 'scored' WHEN error_{{ id }} IS NOT NULL THEN 'failed' END
        AS {{ metric }}_state,
    error_{{ id }} AS {{ metric }}_error,
    CASE WHEN value_{{ id }} IS NOT NULL OR error_{{ id }} IS NOT NULL THEN {{ id }} END AS {{ metric }}_scorer,
{% else %}
    NULL::FLOAT AS {{ metric }}, NULL::VARCHAR AS {{ metric }}_state,
    NULL::VARCHAR AS {{ metric }}_error, NULL::INTEGER AS {{ metric }}_scorer,
{% endif %}
{% endfor %}
    phash
FROM measured
