-- How many of each kind a database holds, to tell that a copy is whole.
SELECT
    (SELECT count(*) FROM duckdb_tables() WHERE database_name = '{{ name }}' AND NOT internal),
    (SELECT count(*) FROM duckdb_views() WHERE database_name = '{{ name }}' AND NOT internal),
    (SELECT count(*) FROM duckdb_functions() WHERE database_name = '{{ name }}' AND NOT internal),
    (SELECT count(*) FROM duckdb_columns() WHERE database_name = '{{ name }}' AND NOT internal),
    (SELECT count(*) FROM duckdb_constraints() WHERE database_name = '{{ name }}'),
    (SELECT count(*) FROM duckdb_indexes() WHERE database_name = '{{ name }}'),
    (SELECT count(*) FROM duckdb_sequences() WHERE database_name = '{{ name }}')
