"""The base of all data modules: arrays in memory in, batches on the device out."""

from __future__ import annotations

import abc
import logging
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor

from mcubench.datamodules.arrays import Arrays, checked
from mcubench.datamodules.loader import TensorLoader
from mcubench.datamodules.parts import cut, scaled
from mcubench.datamodules.scaling import Scaling, Standardised
from mcubench.datamodules.splits import Split, SplitKind
from mcubench.errors import UserError
from mcubench.features import FeatureCost
from mcubench.search.space import Space

__all__ = ["Arrays", "Part", "TensorDataModule"]

log = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]

_EVALUATION_BATCH = 500  # large enough to amortise overhead, small enough for the caches


class TensorDataModule(pl.LightningDataModule, abc.ABC):
    """Data that fits in memory.

    A subclass sets `input_shape`, `num_classes` and `class_names` in its ``__init__`` (they are known without reading
    anything) and implements `load`. This class cuts the validation part, scales every channel to mean 0 and standard
    deviation 1 by the training part alone, places the tensors on the device once, and hands out batches.

    Args:
        batch_size: Samples a batch, in each process.
        split: How validation samples are chosen: ``stratified`` (class shares kept), ``subject`` (whole subjects) or
            ``random`` (which leaks where samples overlap).
        val_fraction: Share of the training set (``subject``: of its subjects) to validate on.
        folds: Number of folds for cross-validation; not set, there is one split.
        fold: Which fold validates, from 0.
        split_seed: Seed of the split. It stays the same while `seed` varies, so that runs of several seeds compare.
        seed: Seed of the batch order; not set, it follows ``--seed_everything``.

    Attributes:
        input_shape: Shape of one sample, channels first.
        num_classes: Number of classes.
        class_names: Their names, in order.
        units: What the numbers of a sample are before they are scaled; ``None`` where nobody has said it.
        raw_dtype: What a sensor gives them as: ``uint8``, else ``float32``.
    """

    input_shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...]
    units: str | None = None
    raw_dtype: Literal["uint8", "float32"] = "float32"

    def __init__(
        self,
        batch_size: int = 100,
        split: SplitKind = "stratified",
        val_fraction: float = 0.1,
        folds: int | None = None,
        fold: int = 0,
        split_seed: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        if seed is not None and seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        self.batch_size = batch_size
        self.split = Split(split, val_fraction, folds, fold, split_seed)
        self.seed = seed
        self._parts: dict[str, Arrays] = {}
        self._scaling: Scaling | None = None
        self._resident: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}
        self._training: TensorLoader | None = None
        self._resume: dict[str, int] | None = None

    @abc.abstractmethod
    def load(self) -> tuple[Arrays, Arrays]:
        """Reads the whole data set.

        Returns:
            The training set (of which validation is a part) and the official test set. Arrays that nobody holds any
            more, when they are returned, are cut and scaled where they lie.
        """

    def fit_scaling(self, train: Arrays) -> Scaling | None:
        """Learns from the training part how samples become inputs: here, every channel (axis 1) is standardised.

        A subclass may learn something else; ``None`` takes samples as they are.
        """
        return Standardised.fit(train.x)

    def setup(self, stage: str | None = None) -> None:
        """Loads, splits and scales, once.

        Raises:
            UserError: If there is nothing to train on: no samples, samples that are not finite or of another shape,
                labels that are no classes. The set and the index are named.
        """
        if self._parts:
            return
        full, test = self._loaded()
        train, val = cut(full, *self.split.indices(full.y, full.subjects))
        del full  # whose memory the training part may have taken over
        absent = sorted(set(range(self.num_classes)) - set(val.y.tolist()))
        if absent:
            names = ", ".join(self.class_names[index] for index in absent)
            log.warning("The validation part has no sample of %s; its macro-F1 is over the other classes.", names)
        given = train.x.shape[1:]
        self._scaling = self.fit_scaling(train)
        train = scaled(train, self._scaling)
        made = train.x.shape[1:]
        if made != tuple(self.input_shape):
            raise UserError(
                f"{type(self).__name__}.load gave samples of shape {given}, scaled to {made}; its input_shape is "
                f"{self.input_shape}"
            )
        self._parts = {"train": train, "val": scaled(val, self._scaling), "test": scaled(test, self._scaling)}

    def _loaded(self) -> tuple[Arrays, Arrays]:
        """What `load` returns, held against itself and against what the module says of it."""
        name = type(self).__name__
        if len(self.class_names) != self.num_classes:
            raise UserError(f"{name} has {len(self.class_names)} class_names, and num_classes is {self.num_classes}")
        found = self.load()
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise UserError(f"{name}.load must return two Arrays, the training and the test set")
        full, test = (
            checked(each, f"{name}.load, {what} set", self.num_classes)
            for each, what in zip(found, ("training", "test"), strict=True)
        )
        if test.x.shape[1:] != full.x.shape[1:]:
            raise UserError(
                f"{name}.load gave training samples of shape {full.x.shape[1:]}, test samples of {test.x.shape[1:]}"
            )
        if (full.y == full.y[0]).all():
            raise UserError(
                f"{name}.load, training set: all of its {len(full.y):,} samples are of class {full.y[0]}: there is "
                "nothing to tell apart"
            )
        return full, test

    def arrays(self, part: Part) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """One part as numpy arrays, scaled as the batches are.

        Args:
            part: ``train``, ``val`` or ``test``.

        Returns:
            x, float32, shape (N, *input_shape), and y, int64, shape (N,); read-only, for training uses the same memory.
        """
        arrays = self._part(part)
        x, y = arrays.x.view(), arrays.y.view()
        x.flags.writeable = y.flags.writeable = False
        return x, y

    def first_batch(self) -> tuple[Tensor, Tensor]:
        """The first training samples, as many as a batch has: x (N, *input_shape), y (N,), on the CPU; copies."""
        x, y = (torch.from_numpy(part[: self.batch_size].copy()) for part in self.arrays("train"))
        return x, y

    def subjects(self, part: Part) -> NDArray[np.int64] | None:
        """Who each sample of a part was recorded from, int64, shape (N,); ``None`` where that is not known."""
        return self._part(part).subjects

    def _part(self, part: str) -> Arrays:
        self.setup()
        if part not in self._parts:
            raise UserError(f"unknown part {part!r}; there are train, val and test")
        return self._parts[part]

    @property
    def class_weights(self) -> Tensor:
        """Weights that make every class count alike, ``N / (num_classes * N_class)``, float32, shape (num_classes,).

        Computed on the training part, as scikit-learn's ``class_weight="balanced"`` does.

        Raises:
            UserError: If the training part has no sample of a class.
        """
        counts = np.bincount(self._part("train").y, minlength=self.num_classes)
        if not counts.all():
            raise UserError(f"class {self.class_names[int(counts.argmin())]} has no training sample to weigh")
        return torch.from_numpy((counts.sum() / (self.num_classes * counts)).astype(np.float32))

    def search_space(self) -> Space:
        """What ``search`` varies of the data, by option: nothing, unless a subclass says so."""
        return {}

    def describe(self) -> dict[str, Any]:
        """What a result row says of the data: shape, scaling, split and sizes, as plain values."""
        sizes = {part: len(self._part(part).y) for part in ("train", "val", "test")}
        scaling = None if self._scaling is None else self._scaling.describe()
        split = {**self.split.describe(), "sizes": sizes}
        if self.split.kind == "subject":
            split["val_subjects"] = np.unique(self._part("val").subjects).tolist()  # type: ignore[arg-type]
        return {"inputs": {"shape": list(self.input_shape), "scaling": scaling}, "split": split}

    def preprocessing(self) -> FeatureCost | None:
        """What computing an input from a sensor's samples costs on a device; ``None`` where samples are the input."""
        return None

    def train_dataloader(self) -> TensorLoader:
        """Shuffled batches of the training part, this process's shard."""
        overfit = self.trainer is not None and getattr(self.trainer, "overfit_batches", 0) > 0
        self._training = self._loader("train", seed=None if overfit else self._batch_seed())
        if self._resume is not None:
            self._training.load_state_dict(self._resume)
            self._resume = None
        return self._training

    def state_dict(self) -> dict[str, Any]:
        """Where the training batches stand, for the checkpoint.

        Lightning keeps the loader's own state too, but forgets to restore it when the module asks for
        ``trainer.estimated_stepping_batches``, as most learning-rate schedules must.
        """
        return {} if self._training is None else {"training": self._training.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Makes the next training loader start where the checkpoint was written, if it is training that goes on."""
        if self.trainer is None or self.trainer.state.fn == TrainerFn.FITTING:
            self._resume = state_dict.get("training")

    def val_dataloader(self) -> TensorLoader:
        """Batches of the validation part in order, this process's shard."""
        return self._loader("val")

    def test_dataloader(self) -> TensorLoader:
        """Batches of the test set in order, this process's shard."""
        return self._loader("test")

    def predict_dataloader(self) -> TensorLoader:
        """The same batches as `test_dataloader`."""
        return self._loader("test")

    def whole(self, part: Part) -> TensorLoader:
        """Batches of a whole part in order, on the CPU, not sharded, whatever trainer is attached."""
        arrays = self._part(part)
        return TensorLoader(torch.from_numpy(arrays.x), torch.from_numpy(arrays.y), batch_size=_EVALUATION_BATCH)

    def _loader(self, part: Part, seed: int | None = None) -> TensorLoader:
        device, rank, world_size = torch.device("cpu"), 0, 1
        if self.trainer is not None:
            device, rank, world_size = (
                self.trainer.strategy.root_device,
                self.trainer.global_rank,
                self.trainer.world_size,
            )
        if (part, device) not in self._resident:
            arrays = self._part(part)
            x, y = torch.from_numpy(arrays.x).to(device), torch.from_numpy(arrays.y).to(device)
            self._resident[part, device] = x, y
        return TensorLoader(
            *self._resident[part, device], batch_size=self.batch_size, seed=seed, rank=rank, world_size=world_size
        )

    def _batch_seed(self) -> int:
        seed = torch.initial_seed() if self.seed is None else self.seed
        # Processes that were not seeded alike must still agree on one order, or their shards would overlap.
        return seed if self.trainer is None else int(self.trainer.strategy.broadcast(seed))
