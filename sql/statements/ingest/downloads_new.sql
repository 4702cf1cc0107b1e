-- The lines of a list (the Parquet file $wanted) that no chunk of earlier downloads (the files $known) holds, each URL
-- where it stands first.
SELECT w.url, w.alt_text, w.licence, w.brief_text, w.dense_text, w.alt_error
FROM read_parquet($wanted) AS w
WHERE NOT EXISTS (SELECT 1 FROM read_parquet($known) AS k WHERE k.url = w.url)
QUALIFY row_number() OVER (PARTITION BY w.url ORDER BY w.row) = 1
ORDER BY w.row
