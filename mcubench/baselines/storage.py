"""scikit-learn estimators as bytes that are read back without running code from them (skops)."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import skops.io
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from mcubench.errors import UserError

__all__ = ["TRUSTED", "read_estimator", "write_estimator"]

# What fitted estimators hold beside the types that skops trusts by itself: compiled parts of scikit-learn and our own
# network, all plain data. Anything else in a file is refused.
TRUSTED = (
    "mcubench.baselines.numpy_mlp.NumpyNetwork",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)


def write_estimator(estimator: BaseEstimator | None) -> Tensor:
    """An estimator as bytes in a tensor, which a checkpoint of tensors and plain values can hold; none for ``None``."""
    content = b"" if estimator is None else skops.io.dumps(estimator)
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def read_estimator(content: Tensor) -> BaseEstimator | None:
    """Reads what `write_estimator` wrote.

    Raises:
        UserError: If it is damaged, or holds types that are not data of scikit-learn's.
    """
    data = content.cpu().numpy().tobytes()
    if not data:
        return None
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
        if unknown:
            raise UserError(
                f"the saved estimator is refused: it holds {', '.join(unknown[:3])}, which is not among the types that "
                "estimators are made of (mcubench.baselines.TRUSTED)"
            )
        estimator: Any = skops.io.loads(data, trusted=list(TRUSTED))
    except UserError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise UserError(f"the saved estimator is damaged, or no skops file: {error}") from None
    if not isinstance(estimator, BaseEstimator):
        raise UserError(f"the saved estimator is a {type(estimator).__name__}, not one of scikit-learn's")
    return estimator
