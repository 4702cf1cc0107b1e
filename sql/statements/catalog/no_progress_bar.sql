-- DuckDB draws a bar on stdout, where the rows go, for whatever takes two seconds.
SET enable_progress_bar = false
