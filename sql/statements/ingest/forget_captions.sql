-- No caption describes other bytes; the source's own texts (`alt`, and all that was copied) also change by themselves.
DELETE FROM captions
WHERE image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'bytes')
   OR ((style = 'alt' OR model = 'source') AND image_id IN (SELECT image_id FROM read_parquet($part) WHERE text_changed))
