-- The rows of a query as a Parquet file, written by DuckDB itself.
COPY (
{{ select }}
) TO '{{ path }}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {{ rows }}, USE_TMP_FILE false)
