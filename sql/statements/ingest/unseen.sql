-- After a listing of folders and prefixes (registered as `roots`, each with its final slash): images known below them
-- whose uri the listing (the Parquet files $pages) did not meet.
SELECT i.image_id, i.uri, i.file_size, i.file_mtime_ns
FROM images i
WHERE i.status NOT IN ('missing', 'removed')  -- what was taken down stays so
  AND EXISTS (SELECT 1 FROM roots WHERE starts_with(i.uri, roots.prefix))
  AND NOT EXISTS (SELECT 1 FROM read_parquet($pages) AS s WHERE s.uri = i.uri)
ORDER BY i.image_id
