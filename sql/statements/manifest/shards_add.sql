INSERT INTO shards SELECT $manifest, shard, bucket, samples, bytes, sha256, $build FROM read_parquet($part)
