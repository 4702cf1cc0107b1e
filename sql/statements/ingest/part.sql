-- New images, with the ids that the listing gave them.
INSERT INTO images (
    image_id, sha256, source, uri, byte_offset, byte_length, format, width, height, frames, status, status_reason,
    alt_text, brief_text, dense_text, alt_error, licence, url, ingested_at, file_size, file_mtime_ns, passing
)
SELECT
    image_id, sha256, source, uri, byte_offset, byte_length, format, width, height, frames, status, status_reason,
    alt_text, brief_text, dense_text, alt_error, licence, url, now()::TIMESTAMP, file_size, file_mtime_ns, passing
FROM read_parquet($part)
WHERE change = 'new'
ORDER BY image_id
