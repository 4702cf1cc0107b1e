-- What of a listing (the Parquet file $listing) must be read: what the catalog does not hold yet, what has another size
-- or time than when it was read, what was missing or did not answer and may be there, and with $retry whatever failed.
-- With it comes what the catalog knows; `within` says of the rest whether it is in a tar that is known. An image that was
-- listed as failed under another uri (`was`) and has bytes now is known by that. What a source merely calls failed never
-- takes a readable image's place. Where a lost image had the same place, the present one counts.
WITH listing AS (
    FROM read_parquet($listing)
    QUALIFY row_number() OVER (PARTITION BY uri, byte_offset ORDER BY ordinal) = 1
),
wanted AS (
    SELECT ordinal, uri, byte_offset, FALSE AS earlier FROM listing
    UNION ALL
    SELECT ordinal, was, 0, TRUE FROM listing WHERE was IS NOT NULL
),
known AS (
    SELECT wanted.ordinal, wanted.earlier, i.*
    FROM wanted
    JOIN images i ON i.uri = wanted.uri AND i.byte_offset = wanted.byte_offset
    WHERE NOT wanted.earlier OR i.sha256 IS NULL
    QUALIFY row_number() OVER (
        PARTITION BY wanted.ordinal ORDER BY wanted.earlier, i.status IN ('missing', 'removed'), i.image_id DESC
    ) = 1
),
tars AS (
    SELECT DISTINCT uri FROM images WHERE byte_offset > 0 AND uri IN (SELECT uri FROM listing WHERE byte_offset > 0)
)
SELECT
    listing.ordinal, listing.item, i.image_id IS NULL AND listing.uri IN (FROM tars) AS within,
    i.image_id, i.sha256, i.width, i.status, i.status_reason, i.alt_text, i.brief_text,
    i.dense_text, i.alt_error, i.licence, i.url, i.file_size, i.file_mtime_ns
FROM listing
LEFT JOIN known i ON i.ordinal = listing.ordinal
WHERE i.image_id IS NULL
   OR i.earlier
   OR (
    (i.file_size IS DISTINCT FROM listing.file_size OR i.file_mtime_ns IS DISTINCT FROM listing.file_mtime_ns)
    AND NOT (listing.failed AND i.status IN ('ok', 'ok-warnings'))
   )
   OR (
    NOT listing.failed
    AND (
        i.byte_length <> listing.byte_length
        OR i.passing
        OR ($retry AND i.status NOT IN ('ok', 'ok-warnings'))
        OR (i.status = 'missing' AND (listing.file_size > 0 OR starts_with(listing.uri, '/')))  -- a look is cheap
    )
   )
ORDER BY listing.ordinal
