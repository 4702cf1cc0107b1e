INSERT INTO parts
SELECT coalesce(max(version), 0) + 1, $part_id, $stage, $rows, now()::TIMESTAMP FROM parts
