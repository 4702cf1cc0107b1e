-- Images by kind of source, the most frequent first.
SELECT source, count(*) AS images FROM images GROUP BY source ORDER BY images DESC, source
