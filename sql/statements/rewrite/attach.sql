-- A new database file beside the catalog's.
ATTACH '{{ path }}' AS rewritten (READ_WRITE)
