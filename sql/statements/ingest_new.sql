-- What of a listing (registered as `listing`) the catalog does not hold yet.
SELECT listing.* FROM listing
WHERE NOT EXISTS (
    SELECT 1 FROM images WHERE images.uri = listing.uri AND images.byte_offset = listing.byte_offset
)
ORDER BY ordinal
