SELECT part_id FROM parts WHERE stage = 'dedup' ORDER BY version DESC LIMIT 1
