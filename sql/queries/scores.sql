-- Quantiles of every score, and how many images are scored, failed and missing.
WITH long AS (
{% for metric in metrics %}
    {{ "UNION ALL" if not loop.first }}
    SELECT '{{ metric.name }}' AS metric, {{ metric.name }} AS score, {{ metric.name }}_state AS state FROM scores
{% endfor %}
)
SELECT
    metric,
    count(*) FILTER (state = 'scored') AS scored,
    count(*) FILTER (state = 'failed') AS failed,
    (SELECT count(*) FROM images) - count(state) AS missing,
{% for percent in (1, 10, 50, 90, 99) %}
    round(quantile_cont(score, {{ percent / 100 }})::DOUBLE, 4) AS "{{ percent }}%",
{% endfor %}
FROM long
GROUP BY metric ORDER BY metric
