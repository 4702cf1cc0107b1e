-- The catalog's default thresholds, one row.
FROM thresholds
