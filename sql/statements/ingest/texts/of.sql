-- What a table of texts (the Parquet file $rows, sorted by key) tells of a page of images (registered as `page`), whose
-- keys go from $first to $last; an image's rows in the table's order.
SELECT page.ordinal, t.*
FROM read_parquet($rows) AS t
JOIN page ON page.key = t.key
WHERE t.key BETWEEN $first AND $last
ORDER BY page.ordinal, t."row"
