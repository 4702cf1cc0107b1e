-- New images get the next ids, in the listing's order. None is added twice, whatever the sources overlap.
INSERT INTO images (
    image_id, sha256, source, uri, byte_offset, byte_length, format, width, height, frames, status, status_reason,
    alt_text, brief_text, dense_text, alt_error, licence, url, ingested_at, file_size, file_mtime_ns
)
SELECT
    (SELECT coalesce(max(image_id), 0) FROM images) + row_number() OVER (ORDER BY ordinal),
    sha256, source, uri, byte_offset, byte_length, format, width, height, frames, status, status_reason,
    alt_text, brief_text, dense_text, alt_error, licence, url, now()::TIMESTAMP, file_size, file_mtime_ns
FROM read_parquet($part) AS p
WHERE change = 'new'
  AND NOT EXISTS (  -- what the catalog held up to $last was asked when listing
    SELECT 1 FROM images i WHERE i.image_id > $last AND i.uri = p.uri AND i.byte_offset = p.byte_offset
  )
