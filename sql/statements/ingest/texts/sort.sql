-- The rows of a table of texts (the Parquet file $raw) by the image they tell of, so that a page of a listing, which goes
-- on in that order, needs few of their row groups.
SELECT * FROM read_parquet($raw) ORDER BY key NULLS LAST, "row"
