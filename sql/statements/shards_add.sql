INSERT INTO shards SELECT $manifest, shard, bucket, samples, bytes, sha256 FROM read_parquet($part)
