SELECT comment FROM duckdb_views() WHERE view_name = 'trainable' AND NOT internal
