"""Transformers of single features: scalers, norms, selections.

A scaler is priced as a batch norm that is not folded: (x - m) s with a weight, an int32 shift and, at integer widths, a
multiplier and shift a feature; no MACs, as all arithmetic on single elements. A selection stores indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_selection import SelectorMixin
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler

from mcubench.cost.estimators.stages import (
    NotPricedError,
    Numbers,
    Stage,
    Stages,
    Stored,
    index_bits,
    kept,
    transforming,
)

__all__ = ["Scaling", "Selection", "UnitLength"]


@dataclass(frozen=True)
class Scaling:
    """(x - shift) scale of each feature, between bounds, if there are some."""

    bounds: tuple[float, float] | None

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """The features (N, features)."""
        x = (x - numbers.get("shift", 0.0)) * numbers.get("scale", 1.0)
        return x if self.bounds is None else x.clip(*self.bounds)


@dataclass(frozen=True)
class UnitLength:
    """x / |x|; zeros as they are."""

    def __call__(self, x: NDArray[Any], _numbers: Numbers) -> NDArray[Any]:
        """The features (N, features)."""
        lengths = np.sqrt(np.square(x).sum(1, keepdims=True))
        return np.asarray(x / np.where(lengths == 0, 1, lengths))


@dataclass(frozen=True)
class Selection:
    """Those features for which `mask`, bool, shape (features,), holds."""

    mask: NDArray[Any]

    def __call__(self, x: NDArray[Any], _numbers: Numbers) -> NDArray[Any]:
        """The features (N, chosen)."""
        return np.asarray(x[:, self.mask])


@transforming.register
def _standard(estimator: StandardScaler) -> Stages:
    return _scaled(
        estimator, estimator.mean_ if estimator.with_mean else None, estimator.scale_ if estimator.with_std else None
    )


@transforming.register
def _robust(estimator: RobustScaler) -> Stages:
    return _scaled(
        estimator,
        estimator.center_ if estimator.with_centering else None,
        estimator.scale_ if estimator.with_scaling else None,
    )


@transforming.register
def _largest(estimator: MaxAbsScaler) -> Stages:
    bounds = (-1.0, 1.0) if getattr(estimator, "clip", False) else None
    return _scaled(estimator, None, estimator.scale_, bounds)


@transforming.register
def _range(estimator: MinMaxScaler) -> Stages:
    """A product and a sum, x * scale + min, are (x - (-min / scale)) * scale."""
    bounds = estimator.feature_range if estimator.clip else None
    return _scaled(estimator, -estimator.min_ / estimator.scale_, 1 / estimator.scale_, bounds)


def _scaled(
    estimator: Any,
    centre: NDArray[Any] | None,
    divisor: NDArray[Any] | None,
    bounds: tuple[float, float] | None = None,
) -> Stages:
    features = estimator.n_features_in_
    stored = [] if divisor is None else [kept("scale", 1 / divisor, rounding="exact")]
    if centre is not None:
        stored.append(kept("shift", centre, "bias"))
    if stored:
        stored.append(Stored("requantisation", "requantisation", features))

    return (
        Stage(
            type(estimator).__name__,
            outputs=features,
            comparisons=2 * features if bounds else 0,
            products=0 if divisor is None else features,
            stored=tuple(stored),
            in_place=True,
            compute=Scaling(bounds),
        ),
    )


@transforming.register
def _unit_length(estimator: Normalizer) -> Stages:
    """Length 1, x / |x|: a root and one division, by which all features are multiplied."""
    if estimator.norm != "l2":
        raise NotPricedError(f"there is no formula for the norm {estimator.norm!r}")
    features = estimator.n_features_in_
    options: dict[str, Any] = {"in_place": True, "compute": UnitLength()}
    return (Stage("Normalizer", features, macs=features, functions=2, products=features, **options),)


@transforming.register(SelectorMixin)
def _selection(estimator: Any) -> Stages:
    mask = estimator.get_support()
    chosen, width = int(mask.sum()), index_bits(len(mask))
    stored = (Stored("indices", "constant", chosen, width),)
    return (Stage(type(estimator).__name__, chosen, stored=stored, in_place=True, compute=Selection(mask), moves=True),)
