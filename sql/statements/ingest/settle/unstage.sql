-- A killed ingest may have noted the same place before.
DELETE FROM staged AS s
WHERE EXISTS (
    FROM read_parquet($part) AS p WHERE p.change = 'other' AND p.uri = s.uri AND p.byte_offset = s.byte_offset
)
