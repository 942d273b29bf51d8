"""Several seeds of one architecture trained at once: each parameter has a leading dimension for them.

``python -m mcubench fit --seeds 8`` uses it. Each seed ends as its own run would, up to the rounding of float32.
"""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.seeds.data import StackedData, StackedLoader  # noqa: E402
from mcubench.seeds.module import StackedClassifiers  # noqa: E402
from mcubench.seeds.obstacles import obstacle_in_data, obstacle_in_models  # noqa: E402
from mcubench.seeds.runs import SeedLog, SeedRun, SeedRuns  # noqa: E402
from mcubench.seeds.stack import Stack  # noqa: E402

__all__ = [
    "SeedLog",
    "SeedRun",
    "SeedRuns",
    "Stack",
    "StackedClassifiers",
    "StackedData",
    "StackedLoader",
    "obstacle_in_data",
    "obstacle_in_models",
]
