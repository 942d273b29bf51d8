"""How training runs fast: several steps in one execution, weights in the order that convolutions like, threads."""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.training.execution import ExecutionLoop  # noqa: E402
from mcubench.training.memory_format import channels_last, set_memory_format  # noqa: E402

__all__ = ["ExecutionLoop", "channels_last", "set_memory_format"]
