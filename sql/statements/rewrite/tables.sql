-- The tables of a database, their names quoted.
SELECT '"' || replace(schema_name, '"', '""') || '"."' || replace(table_name, '"', '""') || '"'
FROM duckdb_tables() WHERE database_name = '{{ name }}' AND NOT internal ORDER BY ALL
