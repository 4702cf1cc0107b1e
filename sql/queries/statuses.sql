-- Images by status, with an example of each failure's reason.
SELECT status, count(*) AS images, any_value(status_reason) AS example_reason
FROM images GROUP BY status ORDER BY images DESC
