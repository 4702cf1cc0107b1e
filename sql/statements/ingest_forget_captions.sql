-- No caption describes other bytes; the source's own text (`alt`) also changes by itself.
DELETE FROM captions
WHERE image_id IN (SELECT image_id FROM read_parquet($part) WHERE change = 'bytes')
   OR (style = 'alt' AND image_id IN (SELECT image_id FROM read_parquet($part) WHERE text_changed))
