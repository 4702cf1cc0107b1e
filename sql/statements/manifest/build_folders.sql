-- The folders that builds have filled, the first first.
SELECT folder, min(created_at) AS first FROM builds GROUP BY folder ORDER BY first, folder
