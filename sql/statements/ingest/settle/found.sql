-- How many lost images were found, and how many of them in the place of others.
SELECT count(*) AS moved, count(replaces) AS replacing FROM (
{{ pairs }}
)
