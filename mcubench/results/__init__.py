"""What a run leaves behind: a folder with its checkpoints, metrics, result row, plots and table."""

from mcubench._compat import mend_torchvision

mend_torchvision()
