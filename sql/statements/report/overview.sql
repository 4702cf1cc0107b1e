-- The catalog in one row.
SELECT
    count(*) AS images,
    count(*) FILTER (status IN ('ok', 'ok-warnings')) AS readable,
    coalesce(sum(byte_length), 0)::BIGINT AS bytes,
    (SELECT coalesce(max(version), 0) FROM parts) AS version
FROM images
