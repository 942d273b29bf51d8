"""MNIST, read from the original gzipped IDX files where they lie."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.datamodules.base import Arrays, TensorDataModule
from mcubench.datamodules.roots import data_root, fetch
from mcubench.errors import CorruptDataError, MissingDataError
from mcubench.files import sha256_of

__all__ = ["MNIST", "read_idx"]

# The gzip files' md5 values are those that torchvision publishes; these are the same files' sha256.
_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_UNSIGNED_BYTE = 0x08  # the IDX type code


class MNIST(TensorDataModule):
    """60,000 + 10,000 handwritten digits of 28 x 28 pixels, with the official test set.

    Reads ``MNIST/raw/*.gz`` under the data root, without unpacking, after checking their hashes; downloads them there
    if they are missing. Pixels, 0 to 255, are scaled by the training part's mean and standard deviation.

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

    def prepare_data(self) -> None:
        """Downloads what is missing.

        Raises:
            MissingDataError: If a file is missing and can't be downloaded.
        """
        for name, sha256 in _SHA256.items():
            path = self.folder / name
            if path.exists():
                continue
            from torchvision import datasets

            try:
                fetch([mirror + name for mirror in datasets.MNIST.mirrors], path, sha256)
            except MissingDataError as error:
                raise MissingDataError(
                    f"MNIST is missing: looked for {name} in {self.folder}, and could not download it ({error}). "
                    "Either connect to the network and run again, or put the four original .gz files into MNIST/raw of "
                    "some folder and name that folder with --data.root or MCUBENCH_DATA."
                ) from None

    def load(self) -> tuple[Arrays, Arrays]:
        """Reads both sets.

        Raises:
            MissingDataError: If a file is missing and can't be downloaded.
            CorruptDataError: If a file is not the original; it is named.
        """
        self.prepare_data()
        train, test = (
            Arrays(
                self._read(f"{part}-images-idx3-ubyte.gz")[:, None],
                self._read(f"{part}-labels-idx1-ubyte.gz").astype(np.int64),
            )
            for part in ("train", "t10k")
        )
        return train, test

    def _read(self, name: str) -> NDArray[np.uint8]:
        path = self.folder / name
        found = sha256_of(path)
        if found != _SHA256[name]:
            raise CorruptDataError(
                f"{path} is not the original MNIST file (sha256 {found[:12]}..., expected {_SHA256[name][:12]}...): it "
                "is truncated, corrupt or altered. Delete it to download it anew, or put a good copy in its place."
            )
        return read_idx(path)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads a gzipped IDX file of unsigned bytes, the format of the original MNIST files.

    The format (http://yann.lecun.com/exdb/mnist/): two zero bytes, a type code, the number of dimensions, each
    dimension as a big-endian 32-bit integer, then the values in C order.

    Args:
        path: The ``.gz`` file.

    Returns:
        The values, in the file's own shape.

    Raises:
        CorruptDataError: If the file is truncated, is not gzip or is not IDX of unsigned bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptDataError(f"{path} is not a whole gzip file: {error}") from None
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise CorruptDataError(f"{path} is not an IDX file of unsigned bytes: it begins with {content[:4].hex()}")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = struct.unpack_from(f">{dimensions}I", content, 4) if len(content) >= header else ()
    if len(content) - header != np.prod(shape, dtype=np.int64) or not shape:
        raise CorruptDataError(f"{path} announces shape {shape} but holds {max(0, len(content) - header)} values")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
