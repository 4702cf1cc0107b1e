-- The last deduplication: how many images it clustered, and how many its clusters hold now.
SELECT part_id, rows, (SELECT count(*) FROM clusters) AS images
FROM parts WHERE stage = 'dedup' ORDER BY version DESC LIMIT 1
