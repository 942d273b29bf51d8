"""Lightning modules small enough for a microcontroller, one architecture a file.

`Classifier` is the base: a subclass of yours is an ``__init__`` and a ``forward``.
"""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.models.base import Classifier  # noqa: E402
from mcubench.models.cnn import CNN  # noqa: E402
from mcubench.models.cnn1d import CNN1d  # noqa: E402
from mcubench.models.convnet import ConvNet  # noqa: E402
from mcubench.models.dscnn import DSCNN  # noqa: E402
from mcubench.models.gru import GRU  # noqa: E402
from mcubench.models.lenet import LeNet  # noqa: E402
from mcubench.models.lstm import LSTM  # noqa: E402
from mcubench.models.mlp import MLP  # noqa: E402

__all__ = ["CNN", "DSCNN", "GRU", "LSTM", "MLP", "CNN1d", "Classifier", "ConvNet", "LeNet"]
