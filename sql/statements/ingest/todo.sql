-- What of a listing (registered as `listing`) must be read: what the catalog does not hold yet, what has another size
-- or time than when it was read, what was missing and is there, and with $retry whatever failed. With it comes what
-- the catalog knows. An image that was listed as failed under another uri (`was`) and has bytes now is known by that.
-- What a source merely calls failed never takes a readable image's place. Texts that the listing itself gives and that
-- are others than the catalog's are read, too: `text_alone` tells that nothing else has changed.
WITH wanted AS (
    SELECT ordinal, uri, byte_offset, FALSE AS earlier FROM listing
    UNION ALL
    SELECT ordinal, was, 0, TRUE FROM listing WHERE was IS NOT NULL
),
known AS (
    SELECT wanted.ordinal, wanted.earlier, i.*
    FROM wanted
    JOIN images i ON i.uri = wanted.uri AND i.byte_offset = wanted.byte_offset
    WHERE NOT wanted.earlier OR i.sha256 IS NULL
    QUALIFY row_number() OVER (PARTITION BY wanted.ordinal ORDER BY wanted.earlier) = 1
),
judged AS (
    SELECT
        listing.ordinal,
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
        ) AS other_text
    FROM listing
    LEFT JOIN known i ON i.ordinal = listing.ordinal
)
SELECT
    judged.ordinal, NOT judged.whole AS text_alone, i.image_id, i.sha256, i.width, i.status, i.status_reason, i.alt_text,
    i.brief_text, i.dense_text, i.alt_error, i.licence, i.url, i.file_size, i.file_mtime_ns
FROM judged
LEFT JOIN known i ON i.ordinal = judged.ordinal
WHERE judged.whole OR judged.other_text
ORDER BY judged.ordinal
