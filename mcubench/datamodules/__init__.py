"""Lightning data modules for data small enough to live in memory.

`Digits` is embedded, `MNIST` and `HAPT` are read from a data root or downloaded. `TensorDataModule` is the base that
they share and that your own data can use: give it arrays, get batches, splits, cross-validation and class weights.
"""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.datamodules.base import Arrays, TensorDataModule  # noqa: E402
from mcubench.datamodules.digits import Digits  # noqa: E402
from mcubench.datamodules.hapt import HAPT  # noqa: E402
from mcubench.datamodules.loader import TensorLoader  # noqa: E402
from mcubench.datamodules.mnist import MNIST  # noqa: E402
from mcubench.datamodules.scaling import MinMax, Scaling, Standardised  # noqa: E402

__all__ = ["HAPT", "MNIST", "Arrays", "Digits", "MinMax", "Scaling", "Standardised", "TensorDataModule", "TensorLoader"]
