"""What several seeds of one model say together: mean and interval of their scores, and ``seeds.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mcubench.files import atomic_path
from mcubench.results.comparison.rows import Mean, mean_of
from mcubench.results.form import FLOAT
from mcubench.results.result import SCORES, read_finished, scores_of

__all__ = ["SCHEMA_VERSION", "SeedScores", "SeveralSeeds"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SeedScores:
    """One seed's row.

    Attributes:
        seed: What ``seed_everything`` was given.
        run: Name of its run folder.
        val_accuracy: Share of validation samples that are right, 0 .. 1; ``None``, as the others, if it is not known.
        val_macro_f1: Macro-F1 of validation.
        test_accuracy: The same of the official test set.
        test_macro_f1: The same.
        epochs: Epochs trained.
        chosen_epoch: Which of them was scored, from 1; ``None`` if none was chosen, and the last weights were scored.
        seconds: Training and validation; of all seeds together if they were trained at once.
        form: What the scores are of, as in ``result.json``.
    """

    seed: int
    run: str
    val_accuracy: float | None
    val_macro_f1: float | None
    test_accuracy: float | None
    test_macro_f1: float | None
    epochs: int
    chosen_epoch: int | None
    seconds: float
    form: str = FLOAT

    @classmethod
    def read(cls, folder: Path, seed: int) -> SeedScores:
        """Reads the row from the ``result.json`` of a seed's run folder.

        Raises:
            UserError: If the run left no result.
        """
        result = read_finished(folder)
        return cls(
            seed=seed,
            run=folder.name,
            **scores_of(result),
            epochs=result["epochs"],
            chosen_epoch=result["checkpoint"].get("epoch"),
            seconds=result["seconds"]["fit"],
            form=result["form"],
        )


@dataclass(frozen=True)
class SeveralSeeds:
    """Runs of one model on one data set that differ by their seed only.

    Attributes:
        model: Name of the model.
        data: Name of the data module; ``None`` where the model brings its own data.
        obstacle: Why each seed was trained by itself; ``None`` if they were trained at once.
        command: The command line, word by word.
        seeds: A row a seed.
        notes: What is worth knowing of the seeds.
    """

    model: str
    data: str | None
    obstacle: str | None
    command: list[str]
    seeds: Sequence[SeedScores]
    notes: Sequence[str]

    @property
    def trained(self) -> str:
        """How the seeds were trained, in a line."""
        if self.obstacle is None:
            return f"{len(self.seeds)} seeds at once (stacked)"
        return f"{len(self.seeds)} seeds, each by itself: {self.obstacle}"

    @property
    def seconds(self) -> float:
        """Wall time of all training and validation."""
        each = [row.seconds for row in self.seeds]
        return each[0] if self.obstacle is None else sum(each)

    def mean(self, score: str) -> Mean | None:
        """Mean and 95 % interval of a score, by its name in `SeedScores`; ``None`` if a seed's is not known."""
        values = [value for row in self.seeds if (value := getattr(row, score)) is not None]
        return None if len(values) < len(self.seeds) else mean_of(values)

    def as_dict(self) -> dict[str, Any]:
        """What ``seeds.json`` holds; docs/result.md documents every field."""
        means = {score: self.mean(score) for score in SCORES}
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "data": self.data,
            "stacked": self.obstacle is None,
            "obstacle": self.obstacle,
            "mean": {score: None if mean is None else mean.as_dict() for score, mean in means.items()},
            "seconds": self.seconds,
            "seeds": [asdict(row) for row in self.seeds],
            "command": self.command,
            "notes": list(self.notes),
        }

    def save(self, folder: Path) -> Path:
        """Writes ``seeds.json`` into a folder and returns its path."""
        path = folder / "seeds.json"
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n", "utf-8")
        return path
