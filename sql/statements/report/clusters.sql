-- The largest clusters: each its keeper, then those least like it, where a mistake would be seen first.
WITH largest AS (
    SELECT cluster_id, count(*) AS images
    FROM clusters WHERE members IS DISTINCT FROM 1  -- the column may count members that were removed since
    GROUP BY cluster_id HAVING count(*) > 1
    ORDER BY images DESC, cluster_id LIMIT $clusters
)
SELECT
    c.cluster_id, l.images AS members, c.image_id, c.image_id = c.keeper_id AS is_keeper, c.similarity, c.reason,
    row_number() OVER (
        PARTITION BY c.cluster_id ORDER BY c.image_id <> c.keeper_id, c.similarity, c.image_id
    ) AS place
FROM clusters c JOIN largest l USING (cluster_id)
QUALIFY place <= $shown
ORDER BY l.images DESC, c.cluster_id, place
