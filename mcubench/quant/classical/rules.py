"""The rules: which kernel computes a computation, with which numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mcubench.cost.estimators.bayes import Gaussian
from mcubench.cost.estimators.neighbours import Nearest
from mcubench.cost.estimators.network import Activation
from mcubench.cost.estimators.scaling import Scaling, Selection, UnitLength
from mcubench.cost.estimators.stages import FUNCTIONS, Affine
from mcubench.cost.estimators.svm import Decisions, KernelValues, Votes
from mcubench.cost.estimators.tree_layout import LEAF_VALUES, SHARES, THRESHOLDS, Tree, with_thresholds
from mcubench.cost.estimators.trees import ClassOfTree, SumOfShares, SumOfValues
from mcubench.quant.classical import kernels
from mcubench.quant.classical.building import Made, NotOnDeviceError, Site, rule
from mcubench.quant.grid import FLOAT32, Grid
from mcubench.quant.integer.ir import Bias, Filter, IntegerTensor
from mcubench.quant.integer.kernels import FullyConnected, Lookup, Places

__all__: list[str] = []

_FIXED_POINT = 30  # bits of a factor of single features
_LARGEST_SHIFT = 40
_LARGEST_BIAS, _LARGEST_WIDE_BIAS = 2.0**29, 2.0**39  # leave sums of products room in 32 and in 64 bits


# --- trees ---


def _trees(trees: Any, at: Site) -> tuple[Tree, ...]:
    """Trees whose thresholds are those of the device."""
    if at.real:
        return tuple(with_thresholds(trees, at.floats(THRESHOLDS, below=True)))
    return tuple(with_thresholds(trees, at.codes(THRESHOLDS).codes.astype(np.float64)))


@rule.register
def _(computation: ClassOfTree, at: Site) -> Made:
    width = 1 if computation.classes.max(initial=0) < 128 else 2
    return [(kernels.TreeClass(_trees([computation.tree], at), (computation.classes,)), at.target(width))]


@rule.register
def _(computation: SumOfShares, at: Site) -> Made:
    classes, trees = computation.classes, _trees(computation.trees, at)
    numbers = tuple(computation.leaf_numbers)
    if at.real:
        rows = at.floats(SHARES).reshape(-1, classes)
        shares = np.concatenate([np.eye(classes, dtype=np.float32), rows])
        return [(kernels.TreeShares(trees, numbers, shares, 1.0), at.target())]
    whole = 2 ** (at.bits - 1) - 1
    rows = at.codes(SHARES).codes.reshape(-1, classes)
    shares = np.concatenate([whole * np.eye(classes, dtype=np.int64), rows])
    return [(kernels.TreeShares(trees, numbers, shares, whole), at.target(4, 1 / whole))]


@rule.register
def _(computation: SumOfValues, at: Site) -> Made:
    trees, numbers = _trees(computation.trees, at), tuple(computation.leaf_numbers)
    if at.real:
        return [(kernels.TreeScores(trees, numbers, at.floats(LEAF_VALUES), at.floats("bias")), at.target())]
    values = at.codes(LEAF_VALUES)
    scale = values.scale.item()
    return [(kernels.TreeScores(trees, numbers, values.codes, at.steps("bias", scale)), at.target(4, scale))]


# --- dense layers ---


@rule.register
def _(computation: Affine, at: Site) -> Made:
    if computation.function not in (None, "relu"):
        raise NotOnDeviceError(f"no device arithmetic is known for {computation.function} in a dense layer")
    rectified, outputs = computation.function == "relu", at.stage.outputs
    if at.real:
        start = np.broadcast_to(at.exact("bias").astype(np.float32), (outputs,))
        dense: Any = kernels.DenseFloat(at.floats("weight"), start, rectified)
    else:
        # Of weights that are small beside their bias, the steps are so coarse that sums of products have room for it.
        room = _LARGEST_BIAS if at.form == "int8" else _LARGEST_WIDE_BIAS
        least = np.abs(np.broadcast_to(at.exact("bias"), (outputs,))) / (room * at.source.grid.scale)
        weight = at.codes("weight", least[:, None])
        products = weight.scale[:, 0] * at.source.grid.scale
        bias = at.steps("bias", products, bits=_LARGEST_SHIFT)
        if at.form == "int16":
            factors = (products / at.grid.scale).astype(np.float32)
            dense = kernels.DenseWide(weight.codes, np.broadcast_to(bias, (outputs,)), factors, rectified)
        else:
            dense = _fully_connected(weight.codes, weight.scale[:, 0], bias, products, "relu" if rectified else None)
    return [(dense, at.target())]


def _fully_connected(codes: Any, scales: Any, bias: Any, products: Any, activation: str | None) -> FullyConnected:
    def stored(numbers: Any, kind: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(np.broadcast_to(numbers, len(codes)), kind))

    filter_ = Filter("weight", torch.from_numpy(codes.astype(np.int8)), stored(scales, np.float32), 0, 8)
    biases = Bias("bias", stored(bias, np.int32), stored(products, np.float32))
    return FullyConnected(filter_, biases, activation)


@rule.register
def _(computation: Activation, at: Site) -> Made:
    if at.form != "int8":
        return [(kernels.Function(computation.function), at.target())]
    codes = torch.arange(-128, 128)
    values = at.source.grid.values(codes).double().numpy()
    results = at.grid.codes(torch.from_numpy(FUNCTIONS[computation.function](values)))
    places = IntegerTensor(f"{at.stage.path}.places", at.source.shape, Grid(1.0, 0), width=4)
    return [(Places(), places), (Lookup(results), at.target())]


# --- neighbours and naive Bayes ---


@rule.register
def _(computation: Nearest, at: Site) -> Made:
    samples = at.floats("samples") if at.real else at.codes("samples").codes
    kernel = kernels.Neighbours(samples, computation.labels, computation.k, computation.weighted)
    if computation.weighted:
        return [(kernel, replace(at.target(4), grid=FLOAT32))]
    return [(kernel, at.target(1 if computation.k < 128 else 4))]


@rule.register
def _(_computation: Gaussian, at: Site) -> Made:
    classes = at.stage.outputs
    if at.real:
        bias = at.floats("bias")
        kernel = kernels.GaussianScores(at.floats("means"), at.floats("factors"), np.ones(classes, np.float32), bias)
        return [(kernel, at.target())]
    factors, target = at.codes("factors"), at.grid
    scales = (factors.scale[:, 0] * at.source.grid.scale**2 / target.scale).astype(np.float32)
    bias = (at.exact("bias") / target.scale + target.zero_point).astype(np.float32)
    return [(kernels.GaussianScores(at.codes("means").codes, factors.codes, scales, bias), at.target())]


# --- kernel machines ---


@rule.register
def _(computation: KernelValues, at: Site) -> Made:
    if computation.degree != int(computation.degree):
        raise NotOnDeviceError(f"no device arithmetic is known for the power {computation.degree}")
    kind, gamma = computation.kind, computation.gamma
    factor = {"rbf": -gamma, "linear": 1.0}.get(kind, gamma)
    step = 1.0 if at.real else at.source.grid.scale
    vectors = at.floats("vectors") if at.real else at.codes("vectors").codes
    numbers = np.float32(factor * step * step), np.float32(at.exact("coef0").item())
    return [(kernels.VectorKernel(kind, vectors, *numbers, int(computation.degree)), at.target())]


@rule.register
def _(computation: Decisions, at: Site) -> Made:
    if at.real:
        coefficients, bias = at.floats("dual coefficients"), at.floats("bias")
        return [(kernels.PairDecisions(coefficients, computation.ends, bias, np.float32(1)), at.target())]
    found = at.codes("dual coefficients")
    products = found.scale.item() * at.source.grid.scale
    bias = at.steps("bias", products, bits=_LARGEST_SHIFT)
    factor = np.float32(products / at.grid.scale)
    return [(kernels.PairDecisions(found.codes, computation.ends, bias, factor), at.target())]


@rule.register
def _(computation: Votes, at: Site) -> Made:
    return [(kernels.PairVotes(computation.classes), at.target(1 if computation.classes < 128 else 2))]


# --- single features ---


@rule.register
def _(computation: Scaling, at: Site) -> Made:
    features = at.stage.outputs
    shift, scale = (np.broadcast_to(at.exact(*each), (features,)) for each in (("shift", 0.0), ("scale", 1.0)))
    if at.real:
        numbers = shift.astype(np.float32), scale.astype(np.float32)
        return [(kernels.ScaleFloat(*numbers, computation.bounds), at.target())]
    source, target = at.source.grid, at.grid
    factors = scale * source.scale / target.scale
    summands = target.zero_point - scale * shift / target.scale - factors * source.zero_point
    low, high = target.ends
    if computation.bounds is not None:
        bounds = np.rint(np.divide(computation.bounds, target.scale)) + target.zero_point
        low, high = (int(each) for each in bounds.clip(low, high))
    fixed = _FIXED_POINT - _exponent(factors)
    if fixed < 0:
        raise NotOnDeviceError(f"{at.stage.op} has factors above 2^{_FIXED_POINT}")
    lift = max(0, _exponent(summands) + fixed - _FIXED_POINT)
    kernel = kernels.Scale(
        factors=np.rint(factors * 2.0**fixed).astype(np.int64),
        summands=np.rint(summands * 2.0 ** (fixed - lift)).astype(np.int64),
        lift=lift,
        shift=fixed,
        low=low,
        high=high,
    )
    return [(kernel, at.target())]


def _exponent(numbers: NDArray[Any]) -> int:
    """The power of 2 that all of them are below, and so far from 0 that shifts by what is left of it fit."""
    return max(int(np.frexp(np.abs(numbers).max())[1]), _FIXED_POINT - _LARGEST_SHIFT)


@rule.register
def _(_computation: UnitLength, at: Site) -> Made:
    return [(kernels.UnitLength(), at.target())]


@rule.register
def _(computation: Selection, at: Site) -> Made:
    return [(kernels.Select(np.flatnonzero(computation.mask)), at.target())]
