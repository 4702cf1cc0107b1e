-- The rows of a table (the Parquet file $rows) whose image is not in the table itself, in order; `again` are those that
-- name the same image as one before.
SELECT *, uri IS NOT NULL AND row_number() OVER (PARTITION BY uri ORDER BY "row") > 1 AS again
FROM read_parquet($rows)
ORDER BY "row"
