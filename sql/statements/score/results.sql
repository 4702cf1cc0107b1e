-- How many of the readable images each scorer has a result for, its failures among them.
SELECT
    count(*) AS readable,
    [
{% for id in scorers %}
        count(*) FILTER (s.value_{{ id }} IS NOT NULL OR s.error_{{ id }} IS NOT NULL){{ "" if loop.last else "," }}
{% endfor %}
    ] AS results
FROM images i LEFT JOIN measured s USING (image_id)
WHERE i.status IN ('ok', 'ok-warnings')
