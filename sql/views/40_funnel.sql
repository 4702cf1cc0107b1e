{% set limits = rules | map(attribute="limits") | map("list") | sum(start=[]) | join(", ") %}
{% set verdicts = rules | map(attribute="name") | map("replace", "", "keeps_", 1) | join(", ") %}
{% set quoted = "'" ~ (rules | map(attribute="name") | join("', '")) ~ "'" %}
{% set count = rules | length %}
-- The images by their combination of verdicts, in the order of the rules; there are few combinations, so what follows
-- costs nothing. `keeps` takes what was not measured for dropped; `rules` names them.
CREATE OR REPLACE MACRO combinations_at({{ limits }}, dedup, styles, sources := NULL) AS TABLE
WITH combinations AS (
    SELECT {{ verdicts }}, count(*) AS images
    FROM judged({{ limits }}, dedup, styles, sources := sources)
    GROUP BY ALL
)
SELECT
    [{{ verdicts }}] AS verdicts,
    images,
    list_transform(verdicts, lambda verdict: coalesce(verdict, false)) AS keeps
FROM combinations;

CREATE OR REPLACE VIEW rules AS
SELECT unnest(range(1, {{ count + 1 }})) AS n, unnest([{{ quoted }}]) AS rule;

-- What each rule keeps and drops. `left_over` counts what is left after this rule and those above it; `dropped`
-- what fails it, whatever the others say; `only_this` what no other rule would have dropped; `unmeasured` what is
-- readable and has no value for it yet (contained in `dropped`).
CREATE OR REPLACE MACRO funnel_at({{ limits }}, dedup, styles, sources := NULL) AS TABLE
WITH counted AS (
    SELECT
        *,
        len(list_filter(keeps, lambda kept: NOT kept)) AS failures,
        CASE WHEN failures = 0 THEN {{ count + 1 }} ELSE list_position(keeps, false) END AS first_failure
    FROM combinations_at({{ limits }}, dedup, styles, sources := sources)
)
SELECT
    n AS step, rule,
    coalesce(sum(images), 0)::BIGINT AS images,
    coalesce(sum(images) FILTER (NOT keeps[n]), 0)::BIGINT AS dropped,
    coalesce(sum(images) FILTER (NOT keeps[n] AND failures = 1), 0)::BIGINT AS only_this,
    coalesce(sum(images) FILTER (verdicts[n] IS NULL AND keeps[1]), 0)::BIGINT AS unmeasured,
    coalesce(sum(images) FILTER (first_failure > n), 0)::BIGINT AS left_over
FROM rules LEFT JOIN counted ON true
GROUP BY n, rule
ORDER BY n;

-- How many images both the rule of the row and that of the column drop, whatever the others say.
CREATE OR REPLACE MACRO overlaps_at({{ limits }}, dedup, styles, sources := NULL) AS TABLE
WITH pairs AS (
    SELECT a.n, a.rule, b.rule AS other, coalesce(sum(images) FILTER (NOT keeps[a.n] AND NOT keeps[b.n]), 0)::BIGINT AS images
    FROM rules a CROSS JOIN rules b LEFT JOIN combinations_at({{ limits }}, dedup, styles, sources := sources) ON true
    GROUP BY ALL
)
SELECT * EXCLUDE (n)
FROM (PIVOT pairs ON other IN ({{ quoted }}) USING sum(images)::BIGINT GROUP BY n, rule)
ORDER BY n;

-- The funnel at the default thresholds.
CREATE OR REPLACE VIEW funnel AS
FROM funnel_at(
{% for limit in limits.split(", ") %}
    (SELECT {{ limit }} FROM thresholds),
{% endfor %}
    true, ['dense', 'alt']
)
