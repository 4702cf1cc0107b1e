ALTER TABLE measured ADD COLUMN value_{{ id }} FLOAT;
ALTER TABLE measured ADD COLUMN error_{{ id }} VARCHAR
