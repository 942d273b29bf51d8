"""Finished runs side by side, from what their folders hold; none of it needs torch.

To compare the runs of a suite, under names of its own, and to keep what was found::

    comparison = compare_runs(folders, names={folder: ("MNIST", "SVM (10,000 samples)")})
    report_comparison(comparison, "suite/table", Console())  # writes table.csv, .md, .png and .svg
"""

from mcubench.results.comparison.compare import compare_runs
from mcubench.results.comparison.report import print_comparison, report_comparison, save_comparison
from mcubench.results.comparison.rows import Comparison, Mean, Range, Row

__all__ = [
    "Comparison",
    "Mean",
    "Range",
    "Row",
    "compare_runs",
    "print_comparison",
    "report_comparison",
    "save_comparison",
]
