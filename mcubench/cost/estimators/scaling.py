"""Transformers of single features: scalers, norms, selections.

A scaler is priced as a batch norm that is not folded: (x - m) s with a weight, an int32 shift and, at integer widths, a
multiplier and shift a feature; no MACs, as all arithmetic on single elements. A selection stores indices.
"""

from __future__ import annotations

from typing import Any

from sklearn.feature_selection import SelectorMixin
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler

from mcubench.cost.estimators.stages import NotPricedError, Stage, Stages, Stored, index_bits, transforming

__all__: list[str] = []


@transforming.register
def _standard(estimator: StandardScaler) -> Stages:
    return _scaled(estimator, estimator.with_std, estimator.with_mean)


@transforming.register
def _robust(estimator: RobustScaler) -> Stages:
    return _scaled(estimator, estimator.with_scaling, estimator.with_centering)


@transforming.register
def _largest(estimator: MaxAbsScaler) -> Stages:
    return _scaled(estimator, factor=True, shift=False, clip=getattr(estimator, "clip", False))


@transforming.register
def _range(estimator: MinMaxScaler) -> Stages:
    return _scaled(estimator, factor=True, shift=True, clip=estimator.clip)


def _scaled(estimator: Any, factor: bool, shift: bool, clip: bool = False) -> Stages:
    features = estimator.n_features_in_
    stored = [Stored("scale", "weight", features)] * factor + [Stored("shift", "bias", features)] * shift
    if stored:
        stored.append(Stored("requantisation", "requantisation", features))
    return (
        Stage(
            type(estimator).__name__,
            outputs=features,
            comparisons=2 * features if clip else 0,
            products=features if factor else 0,
            stored=tuple(stored),
            in_place=True,
        ),
    )


@transforming.register
def _unit_length(estimator: Normalizer) -> Stages:
    """Length 1, x / |x|: a root and one division, by which all features are multiplied."""
    if estimator.norm != "l2":
        raise NotPricedError(f"there is no formula for the norm {estimator.norm!r}")
    features = estimator.n_features_in_
    return (Stage("Normalizer", features, macs=features, functions=2, products=features, in_place=True),)


@transforming.register(SelectorMixin)
def _selection(estimator: Any) -> Stages:
    mask = estimator.get_support()
    chosen, width = int(mask.sum()), index_bits(len(mask))
    stored = (Stored("indices", "constant", chosen, width),)
    return (Stage(type(estimator).__name__, chosen, stored=stored, in_place=True),)
