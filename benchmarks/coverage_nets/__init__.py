"""Networks of other people, by package, that `benchmarks.coverage` runs through the product."""

from benchmarks.coverage_nets.catalog import Subject, subjects

__all__ = ["Subject", "subjects"]
