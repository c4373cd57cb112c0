"""Official metrics: `BaseMetric` classes over plain functions, computed by the data sets' own code where it exists."""
