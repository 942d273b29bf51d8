"""Suites: models, data sets and seeds that are trained and compared as one, by ``compare --suite``."""

from mcubench.suites.suite import SUITES, PlannedRun, Suite, find_suite

__all__ = ["SUITES", "PlannedRun", "Suite", "find_suite"]
