-- Images whose bytes have turned up elsewhere (`arrivals`, `staged`): those that are missing, and those whose file may be.
SELECT i.image_id, located(i.uri) AS uri, i.status = 'missing' AS missing
FROM images i
WHERE i.status <> 'removed' AND i.image_id NOT IN (SELECT image_id FROM arrivals) AND i.sha256 IN (
    SELECT sha256 FROM images SEMI JOIN arrivals USING (image_id) WHERE status IN ('ok', 'ok-warnings')
    UNION ALL
    SELECT sha256 FROM staged WHERE status IN ('ok', 'ok-warnings')
)
ORDER BY i.image_id
