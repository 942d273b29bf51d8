"""What a comparison found, as data and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.files import atomic_path

__all__ = ["Difference", "LayerParity", "OutputParity", "ParityReport", "difference", "finite"]


@dataclass(frozen=True)
class Difference:
    """How far a tensor is from its reference.

    Attributes:
        max_abs: Largest absolute difference.
        relative: L2 norm of the difference, divided by that of the reference; infinite if one of both is not finite
            where the other is, or is another infinity.
        cosine: Cosine of the angle between both; 1 if both are zero.
    """

    max_abs: float
    relative: float
    cosine: float

    def within(self, rtol: float) -> bool:
        """Whether the relative error is at most `rtol`."""
        return self.relative <= rtol


def difference(found: NDArray[Any], reference: NDArray[Any]) -> Difference:
    """Compares two arrays of the same shape, in double precision."""
    a, b = (np.asarray(each, np.float64).ravel() for each in (found, reference))
    differs = a != b  # equal infinities, as attention masks have, do not
    if not differs.any():
        return Difference(0.0, 0.0, 1.0)
    if not (np.isfinite(a[differs]).all() and np.isfinite(b[differs]).all()):
        return Difference(float("inf"), float("inf"), float("nan"))
    a, b = (each[np.isfinite(a) & np.isfinite(b)] for each in (a, b))
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    off = float(np.linalg.norm(a - b))
    return Difference(
        max_abs=float(np.abs(a - b).max()),
        relative=off / norm_b if norm_b else float("inf"),
        cosine=float(a @ b) / (norm_a * norm_b) if norm_a and norm_b else 0.0,
    )


@dataclass(frozen=True)
class LayerParity:
    """One layer on both sides.

    Attributes:
        path: Path of the PyTorch module; its operation's name where a function made the value.
        op: What the graph has there.
        keras: Name of the Keras layer.
        keras_kind: Its class.
        shape: Shape of the output for one sample, channels last.
        params: Elements of the weights that Keras should have, and those that it has.
        difference: How far Keras is from PyTorch; ``None`` where the shapes differ.
        agrees: Whether it is within the tolerance.
    """

    path: str
    op: str
    keras: str
    keras_kind: str
    shape: tuple[int, ...]
    params: tuple[int, int]
    difference: Difference | None
    agrees: bool


@dataclass(frozen=True)
class OutputParity:
    """One output of the model, against the module's own forward.

    Attributes:
        name: Its name in the graph.
        shape: Shape for one sample, as PyTorch has it.
        difference: How far Keras is from PyTorch; ``None`` where the shapes differ.
        top1: Share of samples with the same largest element; ``None`` unless a sample is a vector of at least two.
        agrees: Whether it is within the tolerance.
    """

    name: str
    shape: tuple[int, ...]
    difference: Difference | None
    top1: float | None
    agrees: bool


@dataclass(frozen=True)
class ParityReport:
    """Whether a module and a Keras model compute the same.

    Attributes:
        model: Name of the module's class.
        backend: Keras' backend.
        versions: Of torch, keras and the backend.
        samples: Number of samples compared.
        rtol: The largest relative error that agrees.
        layers: Layers that are on both sides, in the order in which PyTorch runs them.
        outputs: Outputs of the whole.
        structure: What differs before any number is looked at: layers, shapes, parameters, MACs.
        params: Elements of the parameters and running statistics in PyTorch, and of Keras' variables.
        macs: Multiply-accumulates on both sides; ``None`` where some are not known.
        notes: What is worth knowing.
    """

    model: str
    backend: str
    versions: dict[str, str]
    samples: int
    rtol: float
    layers: tuple[LayerParity, ...]
    outputs: tuple[OutputParity, ...]
    structure: tuple[str, ...]
    params: tuple[int, int]
    macs: tuple[int | None, int | None]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether structure, every layer and every output agree."""
        agree = all(layer.agrees for layer in self.layers) and all(output.agrees for output in self.outputs)
        return agree and not self.structure

    @property
    def first_divergence(self) -> LayerParity | None:
        """The first layer that does not agree; those behind it compute from what it made."""
        return next((layer for layer in self.layers if not layer.agrees), None)

    @property
    def worst(self) -> float:
        """The largest relative error of any layer or output; infinite if some have another shape."""
        differences = [layer.difference for layer in self.layers] + [output.difference for output in self.outputs]
        return max((each.relative if each else float("inf") for each in differences), default=0.0)

    def verdict(self) -> str:
        """One sentence."""
        if self.passed:
            return (
                f"{self.model} agrees with Keras ({self.backend}) within {self.rtol:g} on {self.samples} samples: "
                f"largest relative error {self.worst:.2g}"
            )
        found = [*self._in_structure(), *self._in_numbers()]
        return f"{self.model} differs from Keras ({self.backend}): {'; '.join(found)}"

    def _in_structure(self) -> Iterator[str]:
        if self.structure:
            more = f" (and {len(self.structure) - 1} more)" if len(self.structure) > 1 else ""
            yield f"{self.structure[0]}{more}"

    def _in_numbers(self) -> Iterator[str]:
        """The first layer with other numbers, else the first such output."""
        first = self.first_divergence
        output = next((output for output in self.outputs if not output.agrees), None)
        if first is not None:
            off = f"relative error {first.difference.relative:.3g}" if first.difference else "another shape"
            yield (
                f"first at {first.path} ({first.op}), in Keras {first.keras} ({first.keras_kind}): {off}, allowed "
                f"{self.rtol:g}"
            )
        elif output is not None:
            off = f"relative error {output.difference.relative:.3g}" if output.difference else "another shape"
            yield (
                f"output {output.name}: {off}, allowed {self.rtol:g}, while every layer that is on both sides agrees: "
                "look behind the last of them"
            )

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON; infinity and what is not a number become text."""
        first = self.first_divergence
        found: dict[str, Any] = finite(
            {
                "passed": self.passed,
                "verdict": self.verdict(),
                "first_divergence": first.path if first else None,
                "worst_relative_error": self.worst,
                **asdict(self),
            }
        )
        return found

    def save_json(self, target: Path, **more: Any) -> None:
        """Writes the report as JSON, with `more` beside its own entries."""
        with atomic_path(target) as temporary:
            text = json.dumps({**self.as_dict(), **finite(more)}, indent=2, allow_nan=False)
            temporary.write_text(text + "\n", "utf-8")


def finite(tree: Any) -> Any:
    """JSON has no words for infinity and not-a-number: they become text."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [finite(value) for value in tree]
    return str(tree) if isinstance(tree, float) and not np.isfinite(tree) else tree
