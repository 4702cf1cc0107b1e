-- How many rows a table of texts (the Parquet file $rows) has, how many met no image of the listing (the Parquet file
-- $met has the numbers of those that did), and what the first of these calls its image.
SELECT
    count(*) AS rows,
    count(*) FILTER (WHERE met."row" IS NULL) AS unmet,
    min_by(t.path, t."row") FILTER (WHERE met."row" IS NULL) AS example
FROM read_parquet($rows) AS t
LEFT JOIN read_parquet($met) AS met ON met."row" = t."row"
