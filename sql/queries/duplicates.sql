-- The largest clusters of duplicates: what is kept, and how many images it stands for.
SELECT keeper_id, count(*) AS images, count(*) FILTER (reason IN ('bytes', 'pixels')) AS exact_copies,
       min(similarity) AS least_similar, any_value(i.uri) FILTER (c.image_id = c.keeper_id) AS kept
FROM clusters c JOIN images i USING (image_id)
GROUP BY keeper_id HAVING count(*) > 1 ORDER BY images DESC, keeper_id LIMIT 50
