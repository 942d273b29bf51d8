"""The scores of a finished fit in its other form: a network's in integers, a rounded classical model's in float."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from mcubench.cli.fitting.scoring import Scoring
from mcubench.cli.options.quantization import CALIBRATION_SAMPLES
from mcubench.cli.options.samples import first_training_inputs
from mcubench.cost import BitWidths
from mcubench.datamodules.base import Part
from mcubench.graph import deploy, trace
from mcubench.quant.grid import WEIGHT_BITS
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.run import predict
from mcubench.quant.quantize import check_kernels, quantize
from mcubench.results.form import FLOAT, form_of

__all__ = ["can_be_quantized", "other_form"]

ACTIVATION_BITS = 8  # of the integer graph
MOST_MACS = 50_000_000  # of a sample that is scored unasked: a thousand million a second are computed exactly


class _InIntegers(nn.Module):
    """An integer graph as a module of the float model's inputs and outputs."""

    def __init__(self, graph: IntegerGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: Tensor) -> Tensor:
        codes = predict(self.graph, *self.graph.encode(x.cpu()))
        return self.graph.decode(*codes)[0].flatten(1).to(x.device)


class _Predicting(nn.Module):
    """What ``predict`` of an estimator says, as scores of classes."""

    def __init__(self, estimator: Any, classes: int) -> None:
        super().__init__()
        self.estimator, self.classes = estimator, classes

    def forward(self, x: Tensor) -> Tensor:
        found = self.estimator.predict(x.flatten(1).cpu().numpy()).astype(int)
        return torch.eye(self.classes)[found].to(x.device)


def other_form(
    model: LightningModule, scored: BitWidths, priced: BitWidths, macs: int | None, scoring: Scoring
) -> dict[str, Any] | None:
    """Scores a network that was scored in float in integers; a classical model that was scored in integers, in float.

    Args:
        model: The model, with the weights that were scored.
        scored: The bit widths that they were scored at.
        priced: The bit widths that it is priced at.
        macs: What a sample takes, if that is known.
        scoring: How a form is scored; it takes the reason, if there is a form that can't be.

    Returns:
        What ``result.json`` has as ``other_form``; ``None`` if there is no other form, or it is not known.
    """
    if (estimator := getattr(model, "float_estimator", None)) is not None:  # a `Baseline`, which networks don't import
        if form_of(scored) == FLOAT:
            return None
        how = "as fitted, with numbers and inputs that nothing rounds"
        return {"form": FLOAT, "how": how, **_scores(_Predicting(estimator, int(model.num_classes)), scoring)}  # type: ignore[arg-type]
    if form_of(scored) != FLOAT or priced.weight not in WEIGHT_BITS or priced.activation != ACTIVATION_BITS:
        return None
    if macs is not None and macs > MOST_MACS:
        scoring.notes.append(
            f"{form_of(priced)} accuracy is not known: at {macs:,} MACs a sample it takes long; quantize measures it"
        )
        return None
    try:
        samples = [each.to(model.device) for each in first_training_inputs(scoring.source, CALIBRATION_SAMPLES)]
        graph = deploy(trace(model, tuple(each[:1] for each in samples) if len(samples) > 1 else samples[0][:1]))
        found = _scores(_InIntegers(quantize(graph, calibration=samples, widths=priced)), scoring)
    except Exception as error:  # somebody's module may be anything, and the rest of the result is worth keeping
        scoring.notes.append(f"{form_of(priced)} accuracy is not known: {error}")
        return None
    how = f"quantised after training, with ranges of {len(samples[0]):,} training samples (minmax)"
    return {"form": form_of(priced), "how": how, **found}


def can_be_quantized(model: LightningModule, scoring: Scoring) -> bool:
    """Whether ``quantize`` has a form of a model: a classical one always, a network if all of it has kernels."""
    if hasattr(model, "float_estimator"):
        return True
    try:
        samples = tuple(each.to(model.device) for each in first_training_inputs(scoring.source, 1))
        check_kernels(deploy(trace(model, samples if len(samples) > 1 else samples[0])))
    except Exception:  # somebody's module may be anything
        return False
    return True


def _scores(module: nn.Module, scoring: Scoring) -> dict[str, Any]:
    parts: tuple[Part, ...] = ("val", "test")
    found = {part: scoring.score(module, part) for part in parts}
    accuracy = {part: each and each.accuracy for part, each in found.items()}
    return {"accuracy": accuracy, "macro_f1": {part: each and each.macro_f1 for part, each in found.items()}}
