-- Deduplication in one row.
SELECT
    count(*) AS images,
    count(*) FILTER (image_id <> keeper_id) AS dropped,
    count(*) FILTER (image_id <> keeper_id AND reason = 'bytes') AS by_bytes,
    count(*) FILTER (image_id <> keeper_id AND reason = 'pixels') AS by_pixels,
    count(*) FILTER (image_id <> keeper_id AND reason = 'embedding') AS by_embedding,
    (SELECT count(DISTINCT cluster_id) FROM clusters WHERE image_id <> keeper_id) AS clusters
FROM clusters
