-- After a listing: images in the tars it read (registered as `tars`) that are known from before and that it did not
-- find again. What it found carries the tar's present size and time.
SELECT i.image_id, tars.file_size, tars.file_mtime_ns
FROM images i
JOIN tars USING (uri)
WHERE i.status NOT IN ('missing', 'removed')  -- what was taken down stays so
  AND (i.file_size IS DISTINCT FROM tars.file_size OR i.file_mtime_ns IS DISTINCT FROM tars.file_mtime_ns)
ORDER BY i.image_id
