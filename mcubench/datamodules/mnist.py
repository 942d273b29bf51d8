"""MNIST, read from the original IDX files where they lie, packed or not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.datamodules.base import Arrays, TensorDataModule
from mcubench.datamodules.idx import parse_idx, read_idx
from mcubench.datamodules.mnist_files import find, is_there, listed
from mcubench.datamodules.roots import data_root, fetch
from mcubench.errors import MissingDataError

__all__ = ["MNIST", "read_idx"]

# Of what is downloaded: the original gzip files, whose md5 values are those that torchvision publishes.
_SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


class MNIST(TensorDataModule):
    """60,000 + 10,000 handwritten digits of 28 x 28 pixels, with the official test set.

    Reads the four files in ``MNIST/raw`` under the data root, unpacked or as .gz, after checking the hash of what they
    hold; downloads them there if they are missing. Pixels, 0 to 255, are scaled by the training part's mean and
    standard deviation.

    Args:
        root: The data root; not set, ``$MCUBENCH_DATA``, else the user's cache folder. It may be read-only.
        batch_size: Samples a batch.
        **options: ``split``, ``val_fraction``, ``folds``, ``fold``, ``split_seed`` and ``seed`` of
            `TensorDataModule`.
    """

    def __init__(self, root: str | None = None, batch_size: int = 100, **options: Any) -> None:
        super().__init__(batch_size=batch_size, **options)
        self.folder = data_root(root) / "MNIST" / "raw"
        self.input_shape = (1, 28, 28)
        self.num_classes = 10
        self.class_names = tuple("0123456789")
        self.units = "brightness of pixels, 0 (paper) to 255 (ink)"
        self.raw_dtype = "uint8"

    def prepare_data(self) -> None:
        """Downloads what is missing.

        Raises:
            MissingDataError: If a file is missing and can't be downloaded.
        """
        home = self.folder.parent
        for name, sha256 in _SHA256.items():
            if is_there(home, name):
                continue
            from torchvision import datasets

            packed = f"{name}.gz"
            try:
                fetch([mirror + packed for mirror in datasets.MNIST.mirrors], self.folder / packed, sha256)
            except MissingDataError as error:
                raise MissingDataError(
                    f"MNIST is missing: looked for {name}, packed as .gz or not, in {self.folder}, and could not "
                    f"download it ({error}){listed(home)}. Either connect to the network and run again, or put the "
                    "four original files into MNIST/raw of some folder and name that folder with --data.root or "
                    "MCUBENCH_DATA."
                ) from None

    def load(self) -> tuple[Arrays, Arrays]:
        """Reads both sets.

        Raises:
            MissingDataError: If a file is missing and can't be downloaded.
            CorruptDataError: If a file does not hold what the original does; it is named, with what it holds.
        """
        self.prepare_data()
        train, test = (
            Arrays(
                self._read(f"{part}-images-idx3-ubyte")[:, None],
                self._read(f"{part}-labels-idx1-ubyte").astype(np.int64),
            )
            for part in ("train", "t10k")
        )
        return train, test

    def _read(self, name: str) -> NDArray[np.uint8]:
        return parse_idx(find(self.folder.parent, name))
