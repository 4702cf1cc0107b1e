INSERT INTO images (
    image_id, sha256, source, uri, byte_offset, byte_length, format, width, height, frames, status, status_reason,
    alt_text, alt_error, licence, url, ingested_at
)
SELECT
    (SELECT coalesce(max(image_id), 0) FROM images) + row_number() OVER (ORDER BY ordinal),
    sha256, source, uri, byte_offset, byte_length, format, width, height, frames, status, status_reason,
    alt_text, alt_error, licence, url, now()::TIMESTAMP
FROM read_parquet($part)
