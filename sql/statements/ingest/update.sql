-- Known images that were read again: see lensdata/ingest.py for the changes.
MERGE INTO images AS i
USING (SELECT * FROM read_parquet($part) WHERE change <> 'new' AND image_id IS NOT NULL) AS p
    ON i.image_id = p.image_id
WHEN MATCHED AND p.change = 'other' AND i.status = 'removed' THEN DO NOTHING
WHEN MATCHED AND p.change = 'other' THEN UPDATE SET
    status = 'missing', status_reason = 'other bytes stand in its place', passing = NULL
WHEN MATCHED AND p.change = 'bytes' THEN UPDATE SET
    uri = p.uri, byte_offset = p.byte_offset,  -- others than before where a failed URL could be downloaded after all
    sha256 = p.sha256, byte_length = p.byte_length, format = p.format, width = p.width, height = p.height,
    frames = p.frames, status = p.status, status_reason = p.status_reason, alt_text = p.alt_text,
    brief_text = p.brief_text, dense_text = p.dense_text, alt_error = p.alt_error, licence = p.licence, url = p.url,
    ingested_at = now()::TIMESTAMP, file_size = p.file_size, file_mtime_ns = p.file_mtime_ns, passing = p.passing
WHEN MATCHED AND p.text_changed THEN UPDATE SET
    status = p.status, status_reason = p.status_reason, alt_text = p.alt_text, brief_text = p.brief_text,
    dense_text = p.dense_text, alt_error = p.alt_error, licence = p.licence, url = p.url,
    file_size = p.file_size, file_mtime_ns = p.file_mtime_ns, passing = p.passing
WHEN MATCHED THEN UPDATE SET
    status = p.status, status_reason = p.status_reason, file_size = p.file_size, file_mtime_ns = p.file_mtime_ns,
    passing = p.passing
