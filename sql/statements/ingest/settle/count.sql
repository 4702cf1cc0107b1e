-- What waits to be settled.
SELECT (SELECT count(*) FROM arrivals) + (SELECT count(*) FROM staged)
