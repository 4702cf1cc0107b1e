-- Where the bytes of what was taken down may stand in copies of ours.
SELECT located(uri) AS uri, byte_offset, byte_length, sha256
FROM images
WHERE status = 'removed' AND sha256 IS NOT NULL
  AND (starts_with(uri, 'catalog:imported/') OR starts_with(uri, 'catalog:downloads/'))
ORDER BY uri, byte_offset
