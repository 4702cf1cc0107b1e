-- What of a listing (registered as `listing`) must be read: what the catalog does not hold yet, what has another size
-- or time than when it was read, and what failed. With it comes what the catalog knows.
SELECT
    listing.ordinal, i.image_id, i.sha256, i.width, i.status, i.status_reason, i.alt_text, i.alt_error, i.licence,
    i.url, i.file_size, i.file_mtime_ns
FROM listing
LEFT JOIN images i ON i.uri = listing.uri AND i.byte_offset = listing.byte_offset
WHERE i.image_id IS NULL
   OR i.status NOT IN ('ok', 'ok-warnings')
   OR i.byte_length <> listing.byte_length
   OR i.file_size IS DISTINCT FROM listing.file_size
   OR i.file_mtime_ns IS DISTINCT FROM listing.file_mtime_ns
ORDER BY listing.ordinal
