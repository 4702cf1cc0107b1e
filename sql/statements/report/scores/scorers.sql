-- All scorers, the ones in use first, with the images that each has scored and has failed on.
WITH counted AS (
    SELECT unnest([
{% for id in scorers %}
        {'scorer_id': {{ id }}, 'images': count(value_{{ id }}), 'failed': count(error_{{ id }})}
        {{- "" if loop.last else "," }}
{% endfor %}
    ], recursive := true)
    FROM measured
)
SELECT metric, name, revision, preprocessing, tier, coalesce(in_use, false) AS in_use, images, failed
FROM scorers JOIN counted USING (scorer_id)
ORDER BY in_use DESC, images DESC, scorer_id DESC
