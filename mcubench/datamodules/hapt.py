"""HAPT: human activities and postural transitions from a phone's accelerometer and gyroscope."""

from __future__ import annotations

from typing import Any, Literal

from mcubench.datamodules.base import Arrays, TensorDataModule
from mcubench.datamodules.hapt_archive import find_or_fetch
from mcubench.datamodules.hapt_windows import FEATURES, WINDOW, load_features, load_windows
from mcubench.datamodules.roots import data_root
from mcubench.datamodules.splits import SplitKind
from mcubench.errors import UserError

__all__ = ["HAPT"]


class HAPT(TensorDataModule):
    """10,929 windows of 12 activities by 30 people, with the authors' test set of 9 people (UCI data set 341).

    Reads UCI's zip, a raw-only zip or an unpacked folder under ``HAPT`` of the data root, in place, every file checked
    by hash. Six of the classes are postural transitions and rare (23 to 90 training windows): read macro-F1 beside
    accuracy, and see ``--model.class_weights balanced``.

    Args:
        root: The data root; not set, ``$MCUBENCH_DATA``, else the user's cache folder. It may be read-only.
        inputs: ``raw``: windows of shape (6, 128), accelerometer x, y, z in g then gyroscope in rad/s, 50 Hz, each
            channel scaled by the training part. ``features``: the published 561 features, where the copy has them.
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
        batch_size: int = 64,
        split: SplitKind = "subject",
        val_fraction: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, split=split, val_fraction=val_fraction, **options)
        if inputs not in ("raw", "features"):
            raise UserError(f"inputs must be 'raw' or 'features', got {inputs!r}")
        self.root = data_root(root)
        self.inputs = inputs
        self.scaled = inputs == "raw"
        self.input_shape = (6, WINDOW) if inputs == "raw" else (FEATURES,)
        self.class_names = _ACTIVITIES
        self.num_classes = len(_ACTIVITIES)

    def prepare_data(self) -> None:
        """Downloads UCI's zip if there is no copy under the data root."""
        find_or_fetch(self.root)

    def load(self) -> tuple[Arrays, Arrays]:
        """Reads the windows or the features; raises what `load_windows` and `load_features` raise."""
        archive = find_or_fetch(self.root)
        return load_windows(archive) if self.inputs == "raw" else load_features(archive)


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
