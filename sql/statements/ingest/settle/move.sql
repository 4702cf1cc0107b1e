-- A lost image that was found keeps its id, what was measured of it, and a text that its new place does not give.
MERGE INTO images AS i
USING pairs AS p ON i.image_id = p.image_id
WHEN MATCHED THEN UPDATE SET
    source = p.source, uri = p.uri, byte_offset = p.byte_offset, byte_length = p.byte_length,
    status = CASE WHEN p.missing THEN p.status ELSE i.status END,
    status_reason = CASE WHEN p.missing THEN p.status_reason ELSE i.status_reason END,
    alt_text = coalesce(p.alt_text, i.alt_text), brief_text = coalesce(p.brief_text, i.brief_text),
    dense_text = coalesce(p.dense_text, i.dense_text), alt_error = p.alt_error,
    licence = coalesce(p.licence, i.licence), url = coalesce(p.url, i.url),
    file_size = p.file_size, file_mtime_ns = p.file_mtime_ns, passing = NULL
