{% set limits = rules | map(attribute="limits") | map("list") | sum(start=[]) %}
-- Every rule of a selection with its verdict for every image, at thresholds of the caller's choice; a NULL
-- threshold switches its rule off, and `styles` lists the caption styles that may serve, best first; `sources`
-- lists the kinds of source to judge, all if NULL. TRUE keeps, FALSE drops, NULL means not measured yet (which drops,
-- too).
CREATE OR REPLACE MACRO judged({{ limits | join(", ") }}, dedup, styles, sources := NULL) AS TABLE
WITH ruled AS (
    SELECT
        *,
        coalesce(
{% for n in (1, 2, 3) %}
            CASE styles[{{ n }}] WHEN 'dense' THEN nullif(dense, '') WHEN 'brief' THEN nullif(brief, '')
                WHEN 'alt' THEN nullif(alt, '') END{{ "" if loop.last else "," }}
{% endfor %}
        ) AS caption,
        status IN ('ok', 'ok-warnings') AS keeps_readable,
{% for rule in rules if rule.metric %}
{% for limit in rule.limits %}
        {{ "AND " if not loop.first }}(CASE WHEN {{ limit }} IS NULL THEN true ELSE {{ rule.column }} {{ ">=" if limit.startswith("min") else "<=" }} {{ limit }} END)
{% else %}
        true
{% endfor %}
            AS keeps_{{ rule.name }},
{% endfor %}
        CASE WHEN base IS NULL THEN NULL ELSE true END AS keeps_bucket
    FROM trainable
    WHERE sources IS NULL OR list_contains(sources, source)
),
passed AS NOT MATERIALIZED (
    SELECT
        *,
        CASE WHEN caption IS NULL THEN NULL ELSE true END AS keeps_caption,
        coalesce(
            keeps_readable
{% for rule in rules if rule.metric %}
            AND keeps_{{ rule.name }}
{% endfor %}
            AND keeps_bucket AND caption IS NOT NULL, false
        ) AS passes_others
    FROM ruled
)
-- One image of a cluster is kept: its keeper, or where the keeper fails another rule, the best that passes. Only
-- clusters of several images, which are few, need their members compared.
SELECT *, CASE WHEN NOT dedup OR cluster_id IS NOT NULL THEN true END AS keeps_dedup
FROM passed
WHERE NOT dedup OR cluster_id IS NULL OR members = 1
UNION ALL
SELECT
    *,
    image_id = first_value(image_id) OVER (
        PARTITION BY cluster_id
        ORDER BY passes_others DESC, is_keeper DESC, area DESC, aesthetic DESC NULLS LAST, image_id
    ) AS keeps_dedup
FROM passed
WHERE dedup AND cluster_id IS NOT NULL AND members IS DISTINCT FROM 1;

-- As `judged`, at the default thresholds.
CREATE OR REPLACE VIEW judged_at_defaults AS
FROM judged(
{% for limit in limits %}
    (SELECT {{ limit }} FROM thresholds),
{% endfor %}
    true, ['dense', 'alt']
)
