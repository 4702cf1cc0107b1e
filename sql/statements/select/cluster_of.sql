-- An image and the members of its cluster.
SELECT coalesce(list_distinct(list(image_id)), []) AS peers
FROM (
    SELECT $image_id AS image_id
    UNION ALL
    SELECT image_id FROM clusters WHERE cluster_id = (SELECT max(cluster_id) FROM clusters WHERE image_id = $image_id)
)
