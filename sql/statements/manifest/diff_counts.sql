-- How many images are of each kind of change, and how many are in both manifests and differ.
SELECT
    count(*) FILTER (added) AS added, count(*) FILTER (removed) AS removed, count(*) FILTER (caption) AS caption,
    count(*) FILTER (bucket) AS bucket, count(*) FILTER (sha256) AS sha256,
    count(*) FILTER (NOT added AND NOT removed) AS differ
FROM changes
