-- The funnel of one rule at a series of its threshold, in one pass over the images. `judged` is called with the
-- swept threshold off. $sign turns the rule into `distance <= limit`: 1 for a highest value, -1 for a lowest one;
-- $limits are the thresholds times $sign, ascending. An image without a value, or that fails the rule's other
-- threshold, is infinitely far away.
WITH distances AS (
    SELECT
        image_id, cluster_id, members, is_keeper, area, aesthetic,
        coalesce(
            $sign * CASE $rule
{% for rule in rules if rule.metric %}
                WHEN '{{ rule.name }}' THEN CASE WHEN keeps_{{ rule.name }} THEN {{ rule.column }} END
{% endfor %}
            END::DOUBLE, 'infinity'
        ) AS distance,
        coalesce(
            keeps_readable
{% for rule in rules if rule.metric %}
            AND ($rule = '{{ rule.name }}' OR keeps_{{ rule.name }})
{% endfor %}
            AND keeps_caption AND keeps_bucket, false
        ) AS others
    FROM judged(
{% for rule in rules %}{% for limit in rule.limits %} ${{ limit }},{% endfor %}{% endfor %}
        false, $captions, sources := $sources
    )
),
-- What dedup chooses from: single images and clusters. One image is left of a cluster as soon as one of its members
-- passes; until then dedup keeps its foremost member, which this rule alone drops if it passes the others.
chosen AS (
    SELECT CASE WHEN others THEN distance END AS distance, others AS foremost
    FROM distances
    WHERE NOT $dedup OR members = 1
    UNION ALL
    SELECT
        min(distance) FILTER (others),
        first(others ORDER BY is_keeper DESC, area DESC, aesthetic DESC NULLS LAST, image_id)
    FROM distances
    WHERE $dedup AND cluster_id IS NOT NULL AND members IS DISTINCT FROM 1
    GROUP BY cluster_id
),
-- How many of them pass from which limit on, never being the limit infinity.
counted AS (
    SELECT 'images' AS whose, histogram(distance, $limits) AS passing FROM distances
    UNION ALL
    SELECT 'left over', histogram(distance, $limits) FILTER (distance IS NOT NULL) FROM chosen
    UNION ALL
    SELECT 'foremost', histogram(distance, $limits) FILTER (foremost) FROM chosen
),
entries AS (
    SELECT whose, unnest(map_keys(passing)) AS first_limit, unnest(map_values(passing)) AS images FROM counted
)
SELECT
    $sign * step AS threshold,
    coalesce(sum(images) FILTER (whose = 'images' AND first_limit > step), 0)::BIGINT AS dropped,
    coalesce(sum(images) FILTER (whose = 'foremost' AND first_limit > step), 0)::BIGINT AS only_this,
    coalesce(sum(images) FILTER (whose = 'left over' AND first_limit <= step), 0)::BIGINT AS left_over
FROM (SELECT unnest($limits) AS step) LEFT JOIN entries ON true
GROUP BY step
ORDER BY threshold
