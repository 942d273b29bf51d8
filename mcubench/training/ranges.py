"""What a trainer's options may be: Lightning sees some of them late, and trains with others all the same."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

__all__ = ["out_of_range"]

_Check = Callable[[Any], bool]
_NUMBER = re.compile(r"\s*-?\d+\s*")


def _from(least: int) -> tuple[_Check, str]:
    return lambda value: value >= least, f"a whole number, {least} or more"


def _from_or_minus_one(meaning: str) -> tuple[_Check, str]:
    return lambda value: value >= -1, f"a whole number, 0 or more, or -1, {meaning}"


def _is_part(value: float) -> bool:
    return 0 <= value <= 1 or (math.isfinite(value) and value > 1 and value == int(value))


def _is_interval(value: Any) -> bool:
    # What is not a number is a time, which Lightning reads before anything else.
    return not isinstance(value, (int, float)) or (value > 0 and _is_part(value))


def _are_devices(value: Any) -> bool:
    if isinstance(value, str):
        if value == "auto":
            return True
        parts = value.split(",")
        if not all(_NUMBER.fullmatch(part) for part in parts):
            return False
        value = [int(part) for part in parts] if "," in value else int(value)
    if isinstance(value, list):
        return bool(value) and min(value) >= 0 and len(set(value)) == len(value)
    return bool(value == -1 or value >= 1)


_PART = (_is_part, "a share of the batches, 0.0 to 1.0, or a whole number of them")

_ALLOWED: dict[str, tuple[_Check, str]] = {
    "accumulate_grad_batches": _from(1),
    "check_val_every_n_epoch": _from(1),
    "devices": (_are_devices, "a number of devices, 1 or more, -1 for all, a list of different indices, or auto"),
    "fast_dev_run": _from(0),
    "gradient_clip_val": (lambda value: value >= 0 and math.isfinite(value), "a number, 0 (no clipping) or more"),
    "limit_predict_batches": _PART,
    "limit_test_batches": _PART,
    "limit_train_batches": _PART,
    "limit_val_batches": _PART,
    "log_every_n_steps": _from(0),
    "max_epochs": _from_or_minus_one("without an end"),
    "max_steps": _from_or_minus_one("without an end"),
    "min_epochs": _from(0),
    "min_steps": _from(0),
    "num_nodes": _from(1),
    "num_sanity_val_steps": _from_or_minus_one("all"),
    "overfit_batches": _PART,
    "reload_dataloaders_every_n_epochs": _from(0),
    "val_check_interval": (_is_interval, "a share of an epoch, above 0.0 to 1.0, a number of batches, 1 or more, or a "
                                         "time, DD:HH:MM:SS"),
}  # fmt: skip


def out_of_range(trainer: Any) -> str | None:
    """What is wrong with the options of a trainer, in a line: the option, what it may be, and what it is.

    Args:
        trainer: A `Trainer`, or options for one, as attributes. What it does not have, or is ``None``, is right.

    Returns:
        The first that is out of its range; ``None`` if none is.
    """
    for name, (is_right, allowed) in _ALLOWED.items():
        value = getattr(trainer, name, None)
        if value is not None and not is_right(value):
            return f"{name} must be {allowed}; got {value}"
    return None
