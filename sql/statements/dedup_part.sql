INSERT INTO clusters
SELECT image_id, keeper_id AS cluster_id, keeper_id, similarity, reason FROM read_parquet($part) ORDER BY image_id
