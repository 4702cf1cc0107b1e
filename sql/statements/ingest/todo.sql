-- What of a listing (the Parquet file $listing) must be read: what the catalog does not hold yet, what has another size
-- or time than when it was read, what was missing or did not answer and may be there, and with $retry whatever failed.
-- With it comes what the catalog knows; `within` says of the rest whether it is in a tar that is known. An image that was
-- listed as failed under another uri (`was`) and has bytes now is known by that. What a source merely calls failed never
-- takes a readable image's place. Where a lost image had the same place, the present one counts. Texts that the listing
-- itself gives and that are others than the catalog's are read, too: `text_alone` tells that nothing else has changed.
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
),
judged AS (
    SELECT
        listing.ordinal, listing.item, i.image_id IS NULL AND listing.uri IN (FROM tars) AS within,
        i.image_id IS NULL
        OR i.earlier
        OR (
            (i.file_size IS DISTINCT FROM listing.file_size OR i.file_mtime_ns IS DISTINCT FROM listing.file_mtime_ns)
            AND NOT (listing.failed AND i.status IN ('ok', 'ok-warnings'))
        )
        OR (
            NOT listing.failed
            AND (
                i.byte_length <> listing.byte_length
                OR coalesce(i.passing, FALSE)
                OR ($retry AND i.status NOT IN ('ok', 'ok-warnings'))
                OR (  -- a look is cheap
                    i.status = 'missing' AND (listing.file_size > 0 OR starts_with(listing.uri, '/'))
                )
            )
        ) AS whole,
        i.status <> 'removed'
        AND (
            (listing.alt_text IS NOT NULL AND listing.alt_text IS DISTINCT FROM i.alt_text)
            OR (listing.brief_text IS NOT NULL AND listing.brief_text IS DISTINCT FROM i.brief_text)
            OR (listing.dense_text IS NOT NULL AND listing.dense_text IS DISTINCT FROM i.dense_text)
        ) AS other_text,
        i.* EXCLUDE (ordinal, earlier)
    FROM listing
    LEFT JOIN known i ON i.ordinal = listing.ordinal
)
SELECT
    ordinal, item, within, NOT whole AS text_alone, image_id, sha256, width, status, status_reason, alt_text,
    brief_text, dense_text, alt_error, licence, url, file_size, file_mtime_ns
FROM judged
WHERE whole OR other_text
ORDER BY ordinal
