-- Images that have no scores yet. The range spares reading the ids of the whole table.
INSERT INTO measured BY NAME
SELECT
    image_id,
{% for id in scorers %}
    value_{{ id }}, error_{{ id }},
{% endfor %}
    phash
FROM read_parquet($part) AS p
WHERE NOT EXISTS (
    SELECT 1 FROM measured AS s
    WHERE s.image_id = p.image_id
      AND s.image_id BETWEEN (SELECT min(image_id) FROM read_parquet($part))
                         AND (SELECT max(image_id) FROM read_parquet($part))
)
