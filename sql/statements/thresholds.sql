FROM thresholds
