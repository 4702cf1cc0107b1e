-- What each filter keeps, drops, and drops alone, at the default thresholds.
FROM funnel
