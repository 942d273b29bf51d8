"""HAPT: human activities and postural transitions from a phone's accelerometer and gyroscope."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mcubench.datamodules.base import Arrays, TensorDataModule
from mcubench.datamodules.filters import k_best as best_columns
from mcubench.datamodules.hapt_archive import find_or_fetch
from mcubench.datamodules.hapt_choice import Activities, Choice, Sensors
from mcubench.datamodules.hapt_features import Source, load_features, source_of
from mcubench.datamodules.hapt_windows import load_windows
from mcubench.datamodules.roots import data_root
from mcubench.datamodules.scaling import MinMax, Scaling
from mcubench.datamodules.splits import SplitKind
from mcubench.errors import UserError
from mcubench.features import WINDOW, Column, FeatureCost, columns, feature_cost, originals, select
from mcubench.search.space import Space, Whole

__all__ = ["HAPT"]


class HAPT(TensorDataModule):
    """10,929 windows of 12 activities by 30 people, with the authors' test set of 9 people (UCI data set 341).

    Reads UCI's zip, a raw-only zip or an unpacked folder under ``HAPT`` of the data root, in place, every file checked
    by hash. Six of the classes are postural transitions and rare (23 to 90 training windows): read macro-F1 beside
    accuracy, and see ``--model.class_weights balanced``.

    Args:
        root: The data root; not set, ``$MCUBENCH_DATA``, else the user's cache folder. It may be read-only.
        inputs: ``raw``: windows of shape (6, 128), accelerometer x, y, z in g then gyroscope in rad/s, 50 Hz, each
            channel standardised by the training part. ``features``: the 561 features, each scaled by its range: the
            official ones where the copy has them, else the same computed from the recordings (docs/hapt.md).
        features: Take only some of them, as in ``[tBodyAcc,f*-energy]``: signals (``tBodyAcc``), statistics (``mean``),
            both (``tBodyAcc-mean``) or columns (``tBodyAcc-mean-X``), with ``*`` and ``?``.
        k_best: Take only so many of these, chosen on the training part: those whose means differ most between classes
            (F of an analysis of variance) and that do not correlate by 0.95 or more with a better one, as far as there
            are so many.
        sensors: Of raw windows: ``both``, or one of them alone, windows of shape (3, 128).
        activities: ``all`` twelve, or the six ``basic`` ones, without transitions.
        test_subjects: Whose windows are the test set, as in ``[22,23,24]``, in place of the authors' nine people; all
            others train. It is here to compare with papers that split otherwise.
        scaling: Of features: ``train`` maps their ranges in the training part to [-1, 1], which other people may leave;
            ``published`` those of training and test windows together, as in the official matrices. That leaks; it is
            here to compare with papers only.
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
        features: list[str] | str | None = None,
        k_best: int | None = None,
        sensors: Sensors = "both",
        activities: Activities = "all",
        test_subjects: list[int] | None = None,
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
        if inputs == "features" and sensors != "both":
            raise UserError("sensors is for --data.inputs raw; --data.features takes some of the features")
        if scaling == "published" and (test_subjects is not None or activities != "all"):
            raise UserError("scaling 'published' is of all windows: leave test_subjects and activities out")
        if inputs == "raw" and (features is not None or k_best is not None or scaling == "published"):
            raise UserError("features, k_best and scaling 'published' are for --data.inputs features")
        self.root = data_root(root)
        self.inputs = inputs
        self.choice = Choice(sensors, activities, test_subjects)
        self.scaling = scaling
        self.k_best = k_best
        self._candidates = select(features)
        if k_best is not None:
            self._candidates = tuple(originals(self._candidates).values())
            most = len(self._candidates)
            if type(k_best) is not int or not 1 <= k_best <= most:
                raise UserError(f"k_best must be 1 to {most}, the features to choose from without copies; got {k_best}")
        self._chosen = self._candidates
        self._source: Source | None = None
        self._published: MinMax | None = None
        channels = len(range(6)[self.choice.channels])
        self.input_shape = (channels, WINDOW) if inputs == "raw" else (k_best or len(self._candidates),)
        self.class_names = self.choice.class_names(_ACTIVITIES)
        self.num_classes = len(self.class_names)

    def prepare_data(self) -> None:
        """Downloads UCI's zip if there is no copy under the data root."""
        find_or_fetch(self.root)

    def load(self) -> tuple[Arrays, Arrays]:
        """Reads the windows, or reads or computes the features; raises what these raise."""
        archive = find_or_fetch(self.root)
        if self.inputs == "raw":
            return self.choice.windows(*load_windows(archive))
        train, test = self.choice.of(*load_features(archive))
        self._source = source_of(archive)
        if self.scaling == "published":
            self._published = MinMax.fit(np.concatenate([train.x, test.x]), range(len(columns())), "train and test")
        return train, test

    @property
    def units(self) -> str:  # type: ignore[override]
        """What the numbers of a sample are; for features after `load`, as official ones come scaled."""
        if self.inputs == "raw":
            return f"50 Hz; {self.choice.quantities}"
        if self._source == "official":
            return "features as published, scaled to [-1, 1] over training and test windows"
        return "features of one window, in their own units (docs/hapt.md)"

    def fit_scaling(self, train: Arrays) -> Scaling | None:
        """Learns scaling, and which features are best, from the training part."""
        if self.inputs == "raw":
            return super().fit_scaling(train)
        chosen = [column.index for column in self._candidates]
        if self.k_best is not None:
            chosen = best_columns(train.x, train.y, chosen, self.k_best).tolist()
        self._chosen = tuple(columns()[index] for index in chosen)
        return MinMax.fit(train.x, chosen, "train") if self._published is None else self._published.take(chosen)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features that are inputs, in order; none of raw windows. With `k_best` they are known after `setup`."""
        if self.inputs == "raw":
            return ()
        if self.k_best is not None:
            self.setup()
        return self._chosen

    def state_dict(self) -> dict[str, Any]:
        """Adds to `TensorDataModule.state_dict` which features are the inputs, and how they are scaled."""
        return super().state_dict() | {"inputs": self._features()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Sees that the inputs are the features that the checkpoint's model was trained on, scaled alike.

        Raises:
            UserError: If they are not: another split chooses others by `k_best`, and has other ranges.
        """
        theirs, ours = state_dict.get("inputs"), self._features()
        if theirs != ours:
            scaled = theirs and ours and theirs["features"] == ours["features"]
            raise UserError(
                f"the model was trained on {_told(theirs)}, here are {_told(ours)}"
                f"{', but scaled by other constants' if scaled else ''}: give --data.inputs, --data.features, "
                "--data.k_best, --data.scaling and the split as they were in its run"
            )
        super().load_state_dict(state_dict)

    def _features(self) -> dict[str, Any] | None:
        """Names and scaling of the features that are inputs; ``None`` for raw windows."""
        if self.inputs == "raw":
            return None
        self.setup()
        scaling = None if self._scaling is None else self._scaling.describe()
        return {"features": [column.name for column in self.columns], "scaling": scaling}

    def preprocessing(self) -> FeatureCost | None:
        """What the features cost on a device, for one window; ``None`` for raw windows."""
        return feature_cost(self.columns) if self.inputs == "features" else None

    def search_space(self) -> Space:
        """How many of the features are taken."""
        return (
            {"k_best": Whole(4, min(128, len(originals(self._candidates))), log=True)}
            if self.inputs == "features"
            else {}
        )

    def describe(self) -> dict[str, Any]:
        """Adds to `TensorDataModule.describe` where features are from, and which they are."""
        row = super().describe()
        row["inputs"] |= {"source": self._source, **features} if (features := self._features()) else {}
        return row


def _told(inputs: dict[str, Any] | None) -> str:
    return "raw windows" if inputs is None else f"{len(inputs['features'])} features ({inputs['features'][0]}, ...)"


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
