"""HAPT: human activities and postural transitions from a phone's accelerometer and gyroscope."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mcubench.datamodules.base import Arrays, TensorDataModule
from mcubench.datamodules.filters import k_best as best_columns
from mcubench.datamodules.hapt_archive import find_or_fetch
from mcubench.datamodules.hapt_features import load_features, source_of
from mcubench.datamodules.hapt_windows import load_windows
from mcubench.datamodules.roots import data_root
from mcubench.datamodules.scaling import MinMax, Scaling
from mcubench.datamodules.splits import SplitKind
from mcubench.errors import UserError
from mcubench.features import WINDOW, Column, FeatureCost, columns, feature_cost, original, select

__all__ = ["HAPT"]


class HAPT(TensorDataModule):
    """10,929 windows of 12 activities by 30 people, with the authors' test set of 9 people (UCI data set 341).

    Reads UCI's zip, a raw-only zip or an unpacked folder under ``HAPT`` of the data root, in place, every file checked
    by hash. Six of the classes are postural transitions and rare (23 to 90 training windows): read macro-F1 beside
    accuracy, and see ``--model.class_weights balanced``.

    Args:
        root: The data root; not set, ``$MCUBENCH_DATA``, else the user's cache folder. It may be read-only.
        inputs: ``raw``: windows of shape (6, 128), accelerometer x, y, z in g then gyroscope in rad/s, 50 Hz, each
            channel standardised by the training part. ``features``: the 561 features, each scaled to [-1, 1]: the
            official ones where the copy has them, else the same computed from the recordings (docs/hapt.md).
        features: Take only some of them: signals (``tBodyAcc``), statistics (``mean``), both (``tBodyAcc-mean``) or
            columns (``tBodyAcc-mean-X``), with ``*`` and ``?``.
        k_best: Take only so many of these, chosen on the training part: those whose means differ most between classes
            (F of an analysis of variance) and that do not correlate by 0.95 or more with a better one.
        scaling: Of features: ``train`` by the ranges of the training part; ``published`` by those of training and test
            windows together, as in the official matrices. That leaks; it is here to compare with papers only.
        batch_size: Samples a batch.
        split: How validation samples are chosen: ``subject`` keeps people apart, as the test set does. ``random`` and
            ``stratified`` put overlapping windows of one recording on both sides; they are here to show that leak.
        val_fraction: Share of the 21 training subjects (other splits: of their windows) to validate on.
        **options: ``folds``, ``fold``, ``split_seed`` and ``seed`` of `TensorDataModule`. ``folds: 21`` with split
            ``subject`` is leave-one-subject-out.
    """

    def __init__(
        self,
        root: str | None = None,
        inputs: Literal["raw", "features"] = "raw",
        features: list[str] | None = None,
        k_best: int | None = None,
        scaling: Literal["train", "published"] = "train",
        batch_size: int = 64,
        split: SplitKind = "subject",
        val_fraction: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, split=split, val_fraction=val_fraction, **options)
        if inputs not in ("raw", "features"):
            raise UserError(f"inputs must be 'raw' or 'features', got {inputs!r}")
        if scaling not in ("train", "published"):
            raise UserError(f"scaling must be 'train' or 'published', got {scaling!r}")
        if inputs == "raw" and (features is not None or k_best is not None or scaling == "published"):
            raise UserError("features, k_best and scaling 'published' are for --data.inputs features")
        self.root = data_root(root)
        self.inputs = inputs
        self.scaling = scaling
        self.k_best = k_best
        self._selected = select(features)
        if k_best is not None:
            self._selected = tuple(column for column in self._selected if original(column) == column)
            if not 1 <= k_best <= len(self._selected):
                most = len(self._selected)
                raise UserError(f"k_best must be 1 to {most}, the features to choose from without copies; got {k_best}")
        self.input_shape = (6, WINDOW) if inputs == "raw" else (k_best or len(self._selected),)
        self.class_names = _ACTIVITIES
        self.num_classes = len(_ACTIVITIES)

    def prepare_data(self) -> None:
        """Downloads UCI's zip if there is no copy under the data root."""
        find_or_fetch(self.root)

    def load(self) -> tuple[Arrays, Arrays]:
        """Reads the windows, or reads or computes the features; raises what these raise."""
        archive = find_or_fetch(self.root)
        if self.inputs == "raw":
            return load_windows(archive)
        train, test = load_features(archive)
        self._published = MinMax.fit(np.concatenate([train.x, test.x]), range(len(columns())), "train and test")
        return train, test

    def fit_scaling(self, train: Arrays) -> Scaling:
        """Learns scaling, and which features are best, from the training part."""
        if self.inputs == "raw":
            return super().fit_scaling(train)
        chosen = [column.index for column in self._selected]
        if self.k_best is not None:
            chosen = best_columns(train.x, train.y, chosen, self.k_best).tolist()
        self._selected = tuple(columns()[index] for index in chosen)
        if self.scaling == "published":
            return self._published.take(chosen)
        return MinMax.fit(train.x, chosen, "train")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features that are inputs, in order; none of raw windows. With `k_best` they are known after `setup`."""
        if self.inputs == "raw":
            return ()
        if self.k_best is not None:
            self.setup()
        return self._selected

    def state_dict(self) -> dict[str, Any]:
        """Adds to `TensorDataModule.state_dict` which features are the inputs."""
        return super().state_dict() | {"features": [column.name for column in self.columns]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Sees that the inputs are the features that the checkpoint's model was trained on.

        Raises:
            UserError: If they are others: with `k_best`, another split chooses others.
        """
        trained_on = state_dict.get("features", [])
        given = [column.name for column in self.columns]
        if trained_on != given:
            differ = sorted(set(trained_on) ^ set(given))
            raise UserError(
                f"the model was trained on {len(trained_on)} features, here are {len(given)}, and they differ in "
                f"{len(differ)}, as in {differ[0]}: give --data.inputs, --data.features, --data.k_best and the split "
                "as they were in its run"
            )
        super().load_state_dict(state_dict)

    def preprocessing(self) -> FeatureCost | None:
        """What the features cost on a device, for one window; ``None`` for raw windows."""
        return feature_cost(self.columns) if self.inputs == "features" else None

    def describe(self) -> dict[str, Any]:
        """Adds to `TensorDataModule.describe` where features are from, and which they are."""
        row = super().describe()
        if self.inputs == "features":
            row["inputs"] |= {
                "source": source_of(find_or_fetch(self.root)),
                "features": [column.name for column in self.columns],
            }
        return row


# activity_labels.txt of the data set
_ACTIVITIES = (
    "WALKING",
    "WALKING_UPSTAIRS",
    "WALKING_DOWNSTAIRS",
    "SITTING",
    "STANDING",
    "LAYING",
    "STAND_TO_SIT",
    "SIT_TO_STAND",
    "SIT_TO_LIE",
    "LIE_TO_SIT",
    "STAND_TO_LIE",
    "LIE_TO_STAND",
)
