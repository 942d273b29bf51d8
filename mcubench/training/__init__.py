"""How training runs: several optimiser steps in one step of Lightning's loop."""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.training.execution import ExecutionLoop, obstacle  # noqa: E402

__all__ = ["ExecutionLoop", "obstacle"]
