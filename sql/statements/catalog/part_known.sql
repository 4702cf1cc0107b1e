SELECT 1 FROM parts WHERE part_id = $part_id
