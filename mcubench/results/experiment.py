"""``self.logger.experiment`` of a module whose metrics go to ``metrics.csv``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Experiment"]


class Experiment:
    """Takes what modules tell other people's trackers: numbers go to ``metrics.csv``; all else is named and left out.

    Args:
        log: Takes metrics by name, and the step that they are of, if it is known.
    """

    def __init__(self, log: Callable[[dict[str, float], int | None], None]) -> None:
        self._log = log
        self._left_out: set[str] = set()

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *_: Any, **__: Any) -> None:
        """TensorBoard's way to log a number."""
        self._log({tag: float(scalar_value)}, global_step)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None, *_: Any, **__: Any
    ) -> None:
        """TensorBoard's way to log several."""
        self._log({f"{main_tag}/{tag}": float(value) for tag, value in tag_scalar_dict.items()}, global_step)

    def log(self, data: Mapping[str, Any], step: int | None = None, *_: Any, **__: Any) -> None:
        """The way of Weights & Biases; pictures and tables among the data are left out."""
        numbers = {}
        for name, value in data.items():
            try:
                numbers[name] = float(value)
            except (TypeError, ValueError):
                self._leave_out(f"log of {type(value).__name__}")
        if numbers:
            self._log(numbers, step)

    def log_metrics(self, dic: Mapping[str, Any], step: int | None = None, *_: Any, **__: Any) -> None:
        """Comet's way."""
        self.log(dic, step)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)

        def nothing(*_: Any, **__: Any) -> None:
            self._leave_out(name)

        return nothing

    def _leave_out(self, what: str) -> None:
        if what not in self._left_out:
            self._left_out.add(what)
            warnings.warn(
                f"metrics.csv holds numbers: self.logger.experiment left {what} out; give a tracker of your own with "
                "--trainer.logger TensorBoardLogger",
                stacklevel=3,
            )
