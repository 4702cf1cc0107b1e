-- Where the bytes of what was taken down may stand in copies of ours: places whose uri begins with one of $prefixes.
SELECT uri, byte_offset, byte_length, sha256
FROM images
WHERE status = 'removed' AND sha256 IS NOT NULL AND list_bool_or(list_transform($prefixes, lambda p: starts_with(uri, p)))
ORDER BY uri, byte_offset
