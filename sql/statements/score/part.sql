-- Images that were scored before: see part_new.sql for the others. A part has the columns of the scorers it was made
-- with; where it has neither value nor error, the image was not measured again and the column stays as it is. Ids
-- beyond the last one in the table need not be looked for.
MERGE INTO measured AS s
USING (FROM read_parquet($part) WHERE image_id <= (SELECT max(image_id) FROM measured)) AS p
ON s.image_id = p.image_id
WHEN MATCHED THEN UPDATE SET
{% for id in scorers %}
    value_{{ id }} = CASE WHEN p.value_{{ id }} IS NULL AND p.error_{{ id }} IS NULL THEN s.value_{{ id }} ELSE p.value_{{ id }} END,
    error_{{ id }} = CASE WHEN p.value_{{ id }} IS NULL AND p.error_{{ id }} IS NULL THEN s.error_{{ id }} ELSE p.error_{{ id }} END,
{% endfor %}
    phash = coalesce(p.phash, s.phash)
