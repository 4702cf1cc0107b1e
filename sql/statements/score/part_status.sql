-- Only a full decode finds a truncated file, so scoring may correct the status that the header gave at ingest, and a
-- retry that succeeds corrects it back.
MERGE INTO images AS i
USING (SELECT image_id, status, status_reason FROM read_parquet($part) WHERE status IS NOT NULL) AS p
ON i.image_id = p.image_id
WHEN MATCHED AND i.status <> p.status THEN UPDATE SET status = p.status, status_reason = p.status_reason
