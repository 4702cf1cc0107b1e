-- How many images the pages of a listing hold; a table may name one twice.
SELECT count(*) FROM (SELECT DISTINCT uri, byte_offset FROM read_parquet($pages))
