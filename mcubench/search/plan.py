"""What a study varies, and the words of ``fit`` that each of its models is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcubench.search.space import Choice, Space

if TYPE_CHECKING:
    import optuna

__all__ = ["BITS", "Candidate", "Plan"]

BITS = "weight_bits"
_MODEL = "model"


@dataclass(frozen=True)
class Candidate:
    """One model of a space.

    Attributes:
        model: Its class, as it was typed.
        options: What was chosen, by path: ``model.channels``, ``data.k_best``, ``trainer.max_epochs``.
        bits: Of a weight, as it is trained and scored; ``None`` for a classical model, which says so itself.
    """

    model: str
    options: Mapping[str, Any]
    bits: int | None

    def words(self, shared: Sequence[str]) -> list[str]:
        """What follows ``fit``.

        Args:
            shared: Words that are the same for all.
        """
        chosen = [f"--{path}={_text(value)}" for path, value in self.options.items()]
        rounding = ["--trainer.callbacks+=QuantizationAwareTraining", f"--trainer.callbacks.{BITS}={self.bits}"]
        return ["--model", self.model, *shared, *chosen, *(rounding if self.bits else [])]

    def __str__(self) -> str:
        options = [f"{path.rpartition('.')[2]} {_text(value)}" for path, value in self.options.items()]
        if self.bits:
            options.append(f"{self.bits} bits")
        return " ".join([self.model, ", ".join(options)]).strip()


@dataclass(frozen=True)
class Plan:
    """The models that a study may choose, and what each may have.

    Attributes:
        spaces: By model, dimensions by path; ``weight_bits`` is one of them where a network is trained with rounding.
        words: Of ``fit``, the same for all.
    """

    spaces: Mapping[str, Space]
    words: tuple[str, ...]

    def suggest(self, trial: optuna.trial.BaseTrial) -> Candidate:
        """A model for a trial; what the trial has chosen before stays."""
        model = Choice(tuple(self.spaces)).suggest(trial, _MODEL) if len(self.spaces) > 1 else next(iter(self.spaces))
        space = self.spaces[model]
        return _candidate(model, {path: each.suggest(trial, _name(model, path)) for path, each in space.items()})

    def chosen(self, params: Mapping[str, Any]) -> Candidate:
        """The model of a trial that has ended, by what it chose."""
        from optuna.trial import FixedTrial

        return self.suggest(FixedTrial(dict(params)))

    def smallest(self, excess: Callable[[Candidate], float]) -> Candidate:
        """The model that is least beyond a budget, found by changing one option after another while that helps.

        Args:
            excess: How far a model is beyond it.
        """
        best: tuple[float, Candidate] | None = None
        for model, space in self.spaces.items():
            chosen = {path: each.some()[0] for path, each in space.items()}
            least = excess(_candidate(model, chosen))
            for path, each in space.items():
                for value in each.some()[1:]:
                    other = {**chosen, path: value}
                    if (found := excess(_candidate(model, other))) < least:
                        least, chosen = found, other
            if best is None or least < best[0]:
                best = least, _candidate(model, chosen)
        assert best is not None
        return best[1]

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        spaces = {model: {path: str(each) for path, each in space.items()} for model, space in self.spaces.items()}
        return {"spaces": spaces, "words": list(self.words)}


def _candidate(model: str, chosen: Mapping[str, Any]) -> Candidate:
    return Candidate(model, {path: value for path, value in chosen.items() if path != BITS}, chosen.get(BITS))


def _name(model: str, path: str) -> str:
    """What a dimension is called in the study: options of two models are two, data and training are for all."""
    part, _, option = path.partition(".")
    return f"{model}.{option}" if part == _MODEL else path


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
