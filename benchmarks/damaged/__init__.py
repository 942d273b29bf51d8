"""Files, options and data as they should not be, and processes that are killed: what `benchmarks.faults` tries."""
