INSERT INTO clusters (image_id, cluster_id, keeper_id, similarity, reason, members)
SELECT image_id, keeper_id AS cluster_id, keeper_id, similarity, reason, count(*) OVER (PARTITION BY keeper_id) AS members
FROM read_parquet($part) AS p
WHERE true
QUALIFY NOT EXISTS (SELECT 1 FROM clusters c WHERE c.image_id = p.image_id)
ORDER BY image_id
