-- The row stays, without its text, so that the image is not ingested again.
UPDATE images SET status = 'removed', status_reason = $reason, alt_text = NULL, brief_text = NULL,
    dense_text = NULL, url = NULL
WHERE image_id IN (SELECT image_id FROM read_parquet($part))
