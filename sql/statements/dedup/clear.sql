-- Clusters that are no longer so, or hold another number of images; the rest stay as they are.
DELETE FROM clusters AS c WHERE NOT EXISTS (
    FROM (SELECT *, count(*) OVER (PARTITION BY keeper_id) AS members FROM read_parquet($part)) AS p
    WHERE p.image_id = c.image_id AND p.keeper_id = c.keeper_id AND p.similarity = c.similarity
      AND p.reason IS NOT DISTINCT FROM c.reason AND p.members = c.members
)
