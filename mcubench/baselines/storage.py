"""scikit-learn estimators as bytes that are read back without running code from them (skops)."""

from __future__ import annotations

from typing import Any

import numpy as np
import skops.io
import torch
from sklearn.base import BaseEstimator, is_classifier
from torch import Tensor

from mcubench.baselines.neighbour_trees import built_again, left_out
from mcubench.baselines.soundness import check_trees
from mcubench.errors import UserError

__all__ = ["TRUSTED", "read_estimator", "write_estimator"]

# What fitted estimators hold beside the types that skops trusts by itself: parts of scikit-learn and our own network,
# all plain data. Classes only: a file could call a function with anything. All else is refused.
TRUSTED = (
    "mcubench.baselines.numpy_mlp.NumpyNetwork",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)


def write_estimator(estimator: BaseEstimator | None) -> Tensor:
    """An estimator as bytes in a tensor, which a checkpoint of tensors and plain values can hold; none for ``None``.

    Raises:
        UserError: If it could not be read back.
    """
    content = b""
    if estimator is not None:
        try:
            with left_out(estimator):
                content = skops.io.dumps(estimator)
        except Exception as error:  # skops has no common base for what it can't write
            raise UserError(f"{type(estimator).__name__} can't be saved: {error}") from error
        _refuse_unknown(content, f"{type(estimator).__name__} can't be saved")
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def read_estimator(content: Tensor) -> BaseEstimator | None:
    """Reads what `write_estimator` wrote.

    Raises:
        UserError: If it is damaged, holds types that are not data of scikit-learn's, is no fitted classifier, or has
            trees that lead out of their arrays.
    """
    data = content.cpu().numpy().tobytes()
    if not data:
        return None
    try:
        _refuse_unknown(data, "the saved estimator is refused")
        estimator: Any = skops.io.loads(data, trusted=list(TRUSTED))
    except UserError:
        raise
    except Exception as error:  # a broken file breaks zipfile, json or skops in many ways, and nothing of ours is in it
        raise UserError(f"the saved estimator is damaged, or no skops file: {error}") from None
    if not isinstance(estimator, BaseEstimator) or not is_classifier(estimator) or not hasattr(estimator, "classes_"):
        raise UserError(f"the saved estimator is a {type(estimator).__name__}, not a fitted classifier")
    check_trees(estimator)
    try:
        built_again(estimator)
    except Exception as error:  # of samples or a metric that no tree can be of
        raise UserError(f"the saved estimator is damaged: its search tree can't be built again ({error})") from None
    return estimator


def _refuse_unknown(data: bytes, refusal: str) -> None:
    unknown = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
    if unknown:
        raise UserError(
            f"{refusal}: it holds {', '.join(unknown[:3])}, which is not among the types that estimators are made of "
            "(mcubench.baselines.TRUSTED)"
        )
