-- Two columns a scorer instead of four a metric, so that the scorers of one metric stand side by side; the view `scores`
-- shows the one in use. The six metrics are those of the schema before this one.
ALTER TABLE scorers ADD COLUMN in_use BOOLEAN;  -- whether `scores` shows it; one of each metric at most
UPDATE scorers SET in_use = scorer_id IN (SELECT max(scorer_id) FROM scorers GROUP BY metric);
CREATE TABLE measured AS
SELECT
    image_id,
{% for id, metric in scorers %}
    CASE WHEN {{ metric }}_scorer = {{ id }} AND {{ metric }}_state = 'scored' THEN {{ metric }} END AS value_{{ id }},
    CASE WHEN {{ metric }}_scorer = {{ id }} AND {{ metric }}_state = 'failed'
        THEN coalesce({{ metric }}_error, 'failed') END AS error_{{ id }},
{% endfor %}
    phash
FROM scores;
DROP TABLE scores;
