-- The largest clusters: each its keeper, then those least like it, where a mistake would be seen first.
WITH largest AS (
    SELECT cluster_id, count(*) AS members
    FROM clusters GROUP BY cluster_id HAVING members > 1
    ORDER BY members DESC, cluster_id LIMIT $clusters
)
SELECT
    c.cluster_id, l.members, c.image_id, c.image_id = c.keeper_id AS is_keeper, c.similarity, c.reason,
    row_number() OVER (
        PARTITION BY c.cluster_id ORDER BY c.image_id <> c.keeper_id, c.similarity, c.image_id
    ) AS place
FROM clusters c JOIN largest l USING (cluster_id)
QUALIFY place <= $shown
ORDER BY l.members DESC, c.cluster_id, place
