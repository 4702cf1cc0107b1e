-- What a selection selects, in the order of a manifest: bucket by bucket (as $buckets lists them) and format by format, so
-- that shards hold one of each; within these by splitmix64's finaliser of the id, an order without meaning, so that a
-- shard read from its start to its end is already a random draw. 2^64 = 18446744073709551616.
SELECT * EXCLUDE (start, first, second)
FROM (
    SELECT *, ((xor(first, first >> 27))::UHUGEINT * 10723151780598845931 % 18446744073709551616)::UBIGINT AS second
    FROM (
        SELECT *, ((xor(start, start >> 30))::UHUGEINT * 13787848793156543929 % 18446744073709551616)::UBIGINT AS first
        FROM (
            SELECT
                * REPLACE (left(dense, 1) AS dense, left(alt, 1) AS alt),  -- which of them there are is all that is asked
                ((image_id::UHUGEINT + 11400714819323198485) % 18446744073709551616)::UBIGINT AS start
            FROM ({{ select }}
            )
        )
    )
)
ORDER BY list_position($buckets, bucket_width || 'x' || bucket_height), format, xor(second, second >> 31)
