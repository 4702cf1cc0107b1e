-- A synthetic catalog: images $first to $last with everything a selection looks at. Values are hashes of the id, so
-- that columns do not compress better than real ones; about half the images pass the default thresholds.
INSERT INTO images (
    image_id, sha256, source, uri, byte_offset, byte_length, format, width, height, frames, status, alt_text,
    ingested_at, file_size, file_mtime_ns
)
SELECT
    id, sha256(id::VARCHAR), CASE id % 5 WHEN 0 THEN 'stock' ELSE 'web' END,
    '/data/images/part-' || lpad((id // 10000)::VARCHAR, 6, '0') || '.tar', (id % 10000) * 204800,
    100000 + hash(id) % 100000, CASE id % 10 WHEN 0 THEN 'png' ELSE 'jpeg' END,
    256 + hash(id + 1) % 1792, 256 + hash(id + 2) % 1792, 1,
    CASE hash(id + 3) % 50 WHEN 0 THEN 'truncated' ELSE 'ok' END,
    'a photograph of ' || hash(id) % 1000000 || ' things near ' || hash(id + 4) % 1000,
    TIMESTAMP '2026-01-01', 2048000000, 1767225600000000000 + id // 10000
FROM range($first, $last + 1) AS ids(id);

INSERT INTO measured (image_id, value_1, value_2, value_3, value_4, value_5, value_6, phash)
SELECT
    id,
    hash(id + 5) % 1000003 / 1250003.0,
    2.6 + hash(id + 6) % 1000003 / 250000.0,
    hash(id + 7) % 1000003 / 1100003.0,
    hash(id + 8) % 1000003 / 500.0,
    hash(id + 9) % 1000003 / 125000.0,
    hash(id + 10) % 1000003 / 1000003.0,
    hash(id + 11)
FROM range($first, $last + 1) AS ids(id);

INSERT INTO embeddings
SELECT id, 'model@1', 'score-00000001-' || lpad((id // 128 * 128)::VARCHAR, 12, '0'), id % 128, NULL
FROM range($first, $last + 1) AS ids(id);

-- Every tenth image is the duplicate of the one before it.
INSERT INTO clusters (image_id, cluster_id, keeper_id, similarity, reason, members)
SELECT
    id, keeper, keeper, CASE WHEN id = keeper THEN 1 ELSE 0.99 END,
    CASE WHEN id <> keeper THEN 'embedding' END, CASE WHEN id % 10 IN (9, 0) THEN 2 ELSE 1 END
FROM (SELECT id, CASE WHEN id % 10 = 0 THEN id - 1 ELSE id END AS keeper FROM range($first, $last + 1) AS ids(id));

INSERT INTO captions (image_id, style, text, words, model, created_at)
SELECT
    id, 'alt', 'a photograph of ' || hash(id) % 1000000 || ' things near ' || hash(id + 4) % 1000, 7, 'source',
    TIMESTAMP '2026-01-01'
FROM range($first, $last + 1) AS ids(id);

INSERT INTO buckets
SELECT id, base, aspect, width, height
FROM (SELECT id, 1 + hash(id + 12) % (SELECT count(*) FROM bucket_names) AS place FROM range($first, $last + 1) AS ids(id))
JOIN bucket_names USING (place)
ORDER BY id;

INSERT INTO parts
SELECT coalesce(max(version), 0) + 1, 'fill-' || $first, 'fill', $last - $first + 1, now()::TIMESTAMP FROM parts
