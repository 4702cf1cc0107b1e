-- What deduplication needs, best keeper first: the largest image, then the best aesthetic score, then the oldest id.
-- Models repeat a score to about 1e-6, not to the bit: so copies tie, and the oldest stays.
-- Everything that decides about a row or its rank is a column, so that a row whose columns stay need not be looked at.
-- An image without a vector (part and row NULL) is compared by its bytes alone.
SELECT
    i.image_id, i.sha256, i.width, i.height, s.phash,
{% for metric in metrics if not metric.learned %}
    s.{{ metric.name }},
{% endfor %}
{% for metric in metrics if not metric.learned %}
    s.{{ metric.name }}_scorer,
{% endfor %}
    round(s.aesthetic, 3) AS aesthetic, e.part, e.row
FROM images i
LEFT JOIN embeddings e ON e.image_id = i.image_id AND e.model = $model AND e.row >= 0
LEFT JOIN scores s ON s.image_id = i.image_id
WHERE i.status IN ('ok', 'ok-warnings')
ORDER BY i.width::BIGINT * i.height DESC, round(s.aesthetic, 3) DESC NULLS LAST, i.image_id
