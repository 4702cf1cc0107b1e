-- Images, megapixels and gigabytes per source and format.
SELECT source, format, count(*) AS images, round(sum(width::BIGINT * height) / 1e6, 1) AS megapixels,
       round(sum(byte_length) / 1e9, 3) AS gigabytes
FROM images GROUP BY source, format ORDER BY images DESC
