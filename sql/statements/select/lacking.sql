-- Readable images without a value of one metric: how many were not measured, how many failed and one reason, and whether
-- anything was measured of any image.
SELECT
    count(*) FILTER (s.{{ column }}_state IS NULL) AS missing,
    count(*) FILTER (s.{{ column }}_state = 'failed') AS failed,
    min(s.{{ column }}_error) AS reason,
    (SELECT count(*) > 0 FROM scores) AS scored
FROM images i
LEFT JOIN scores s USING (image_id)
WHERE i.status IN ('ok', 'ok-warnings') AND s.{{ column }} IS NULL AND ($sources IS NULL OR list_contains($sources, i.source))
