"""What k folds say together: mean and spread of their scores, and ``folds.json``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mcubench.files import atomic_path
from mcubench.results.form import FLOAT
from mcubench.results.result import SCORES, read_finished, scores_of

__all__ = ["SCHEMA_VERSION", "CrossValidation", "FoldScores", "Spread"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FoldScores:
    """One fold's row.

    Attributes:
        fold: Its number, from 0.
        run: Name of its run folder.
        val_subjects: Who validates, where the split is by subject.
        val_samples: Number of validation samples; ``None`` if the data module does not say.
        val_accuracy: Share of validation samples that are right, 0 .. 1; ``None``, as the others, if it is not known.
        val_macro_f1: Macro-F1 of validation.
        test_accuracy: The same of the official test set.
        test_macro_f1: The same.
        epochs: Epochs trained.
        seconds: Training and validation.
        chosen_by: The metric that the scored epoch was chosen by, if one of several was.
        form: What the scores are of, as in ``result.json``.
    """

    fold: int
    run: str
    val_subjects: list[int] | None
    val_samples: int | None
    val_accuracy: float | None
    val_macro_f1: float | None
    test_accuracy: float | None
    test_macro_f1: float | None
    epochs: int
    seconds: float
    chosen_by: str | None
    form: str = FLOAT

    @classmethod
    def read(cls, folder: Path, fold: int) -> FoldScores:
        """Reads the row from the ``result.json`` of a fold's run folder.

        Raises:
            UserError: If the run left no result.
        """
        result = read_finished(folder)
        split = result["split"] or {}
        return cls(
            fold=fold,
            run=folder.name,
            val_subjects=split.get("val_subjects"),
            val_samples=split["sizes"]["val"] if split else None,
            **scores_of(result),
            epochs=result["epochs"],
            seconds=result["seconds"]["fit"],
            chosen_by=result["checkpoint"].get("monitor") if result["epochs"] > 1 else None,
            form=result["form"],
        )


@dataclass(frozen=True)
class Spread:
    """How a score varies over the folds.

    Attributes:
        mean: Its mean, each fold alike.
        std: Its standard deviation, with n - 1. It describes the folds; divided by sqrt(n) it would not be the
            standard error of the mean, for folds share training samples (Bengio and Grandvalet 2004).
        min: The lowest.
        max: The highest.
    """

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True)
class CrossValidation:
    """The folds of one model on one data set.

    Attributes:
        model: Name of the model.
        data: Name of the data module.
        split: ``kind`` and ``seed`` of the split; ``None`` for foreign data.
        seed: What ``seed_everything`` was given, the same for each fold.
        command: The command line, word by word.
        folds: A row a fold, all k of them.
        notes: What is worth knowing of the folds.
    """

    model: str
    data: str
    split: dict[str, Any] | None
    seed: int | None
    command: list[str]
    folds: Sequence[FoldScores]
    notes: Sequence[str]

    @property
    def by_subject(self) -> bool:
        """Whether whole subjects validate."""
        return self.split is not None and self.split["kind"] == "subject"

    def spread(self, score: str) -> Spread | None:
        """Mean and spread of a score, by its name in `FoldScores`; ``None`` if a fold's score is not known."""
        values = [value for row in self.folds if (value := getattr(row, score)) is not None]
        if len(values) < len(self.folds):
            return None
        return Spread(statistics.fmean(values), statistics.stdev(values), min(values), max(values))

    @property
    def pooled_accuracy(self) -> float | None:
        """Share of all validation samples that are right, each counted once; ``None`` if a fold's is not known."""
        right = total = 0.0
        for row in self.folds:
            if row.val_accuracy is None or row.val_samples is None:
                return None
            right += row.val_accuracy * row.val_samples
            total += row.val_samples
        return round(right) / total

    def as_dict(self) -> dict[str, Any]:
        """What ``folds.json`` holds; docs/result.md documents every field."""
        spreads = {score: self.spread(score) for score in SCORES}
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "data": self.data,
            "split": self.split,
            "seed": self.seed,
            "spread": {score: None if spread is None else asdict(spread) for score, spread in spreads.items()},
            "pooled_accuracy": self.pooled_accuracy,
            "folds": [asdict(row) for row in self.folds],
            "command": self.command,
            "notes": list(self.notes),
        }

    def save(self, folder: Path) -> Path:
        """Writes ``folds.json`` into a folder and returns its path."""
        path = folder / "folds.json"
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n", "utf-8")
        return path
