-- What differs between two manifests, the Parquet files $old and $new, image by image: each with whether it is in both,
-- and if so in what it differs. Texts are compared by a digest, so that rows stay small however long captions are.
CREATE TEMP TABLE changes AS
SELECT
    coalesce(o.image_id, n.image_id) AS image_id,
    o.image_id IS NULL AS added,
    n.image_id IS NULL AS removed,
    coalesce(o.caption <> n.caption, false) AS caption,
    coalesce(o.bucket <> n.bucket, false) AS bucket,
    coalesce(o.sha256 <> n.sha256, false) AS sha256
FROM (SELECT image_id, md5_number(caption) AS caption, bucket, md5_number(sha256) AS sha256 FROM read_parquet($old)) o
FULL JOIN (
    SELECT image_id, md5_number(caption) AS caption, bucket, md5_number(sha256) AS sha256 FROM read_parquet($new)
) n USING (image_id)
WHERE o.image_id IS NULL OR n.image_id IS NULL
    OR o.caption <> n.caption OR o.bucket <> n.bucket OR o.sha256 <> n.sha256
