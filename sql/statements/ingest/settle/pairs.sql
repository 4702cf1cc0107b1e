-- Each lost image (the Parquet file $part) with the place where its bytes lie now (`arrival`: a new image's id), one for
-- one where the same bytes lay several times.
WITH lost AS (
    SELECT *, row_number() OVER (PARTITION BY sha256 ORDER BY image_id) AS nth
    FROM images SEMI JOIN read_parquet($part) USING (image_id)
),
found AS (
    SELECT image_id AS arrival, * EXCLUDE (image_id, ingested_at)
    FROM images JOIN (SELECT DISTINCT * FROM arrivals) USING (image_id) SEMI JOIN lost USING (sha256)
    WHERE status IN ('ok', 'ok-warnings')
    UNION ALL BY NAME
    FROM staged SEMI JOIN lost USING (sha256) WHERE status IN ('ok', 'ok-warnings')
),
fresh AS (
    SELECT *, row_number() OVER (PARTITION BY sha256 ORDER BY arrival, ordinal) AS nth FROM found
)
SELECT
    lost.image_id, lost.status = 'missing' AS missing,
    coalesce(fresh.alt_text, lost.alt_text) IS DISTINCT FROM lost.alt_text
        OR coalesce(fresh.brief_text, lost.brief_text) IS DISTINCT FROM lost.brief_text
        OR coalesce(fresh.dense_text, lost.dense_text) IS DISTINCT FROM lost.dense_text AS text_changed,
    fresh.* EXCLUDE (sha256, nth)
FROM lost
JOIN fresh USING (sha256, nth)
