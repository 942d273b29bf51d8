"""scikit-learn's handwritten digits: real data that needs no download."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mcubench.datamodules.base import Arrays, TensorDataModule
from mcubench.errors import UserError

__all__ = ["Digits"]

_TEST_FRACTION = 0.2
_TEST_SEED = 1797  # fixed: the test set is the same whatever split or seed is asked for


@functools.cache
def _original() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pixels (1797, 8, 8) and labels (1797,), parsed once in a process."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


class Digits(TensorDataModule):
    """1,797 handwritten digits of 8 x 8 pixels (UCI "optdigits", the copy that scikit-learn embeds).

    The source has no training and test sets of its own. A fixed, stratified fifth (360 digits) is the test set here.
    Pixels, 0 to 16, are scaled by the training part's mean and standard deviation.

    Args:
        size: Images are resized to ``size x size`` (bilinear), so that models made for MNIST run on them; 8 leaves
            them as they are.
        batch_size: Samples a batch.
        val_fraction: Share of the training set to validate on.
        **options: ``split``, ``folds``, ``fold``, ``split_seed`` and ``seed`` of
            `TensorDataModule`.
    """

    def __init__(self, size: int = 28, batch_size: int = 32, val_fraction: float = 0.2, **options: Any) -> None:
        super().__init__(batch_size=batch_size, val_fraction=val_fraction, **options)
        if size < 1:
            raise UserError(f"size must be at least 1 pixel, got {size}")
        self.input_shape = (1, size, size)
        self.num_classes = 10
        self.class_names = tuple("0123456789")
        self.units = "brightness of pixels, 0 (paper) to 16 (ink)"
        self.raw_dtype = "uint8" if size == 8 else "float32"  # what was resized is no whole number

    def load(self) -> tuple[Arrays, Arrays]:
        """Reads and resizes the digits."""
        from sklearn.model_selection import train_test_split

        pixels, digits = _original()
        images = torch.from_numpy(pixels.astype(np.float32))[:, None]
        if self.input_shape[1:] != images.shape[2:]:
            images = torch.nn.functional.interpolate(images, self.input_shape[1:], mode="bilinear", antialias=True)
        labels = digits.astype(np.int64)
        train, test = train_test_split(
            np.arange(len(labels)), test_size=_TEST_FRACTION, stratify=labels, random_state=_TEST_SEED
        )
        data = Arrays(images.numpy(), labels)
        return data.take(np.sort(train)), data.take(np.sort(test))
