"""A network from scratch in numpy: feed-forward, back-propagation, SGD with momentum; docs/numpy_mlp.md explains it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from mcubench.baselines.base import Baseline
from mcubench.errors import UserError

__all__ = ["NumpyMLP", "NumpyNetwork", "sgd_step"]

Array = NDArray[np.float64]  # twice the bytes of float32, but gradients can be checked to ten digits
Activation = Literal["logistic", "tanh", "relu"]  # as scikit-learn calls them; logistic is the exercise's sigmoid

_OUTPUTS = {"quadratic": "logistic", "cross_entropy": "softmax"}  # what each loss expects the last layer to end with
# Each function, and its slope in terms of its own output a, which the forward pass has left behind.
_ACTIVATIONS: dict[str, Any] = {
    "logistic": (lambda z: 0.5 + 0.5 * np.tanh(0.5 * z), lambda a: a * (1 - a)),  # 1 / (1 + exp(-z)) could overflow
    "tanh": (np.tanh, lambda a: 1 - a**2),
    "relu": (lambda z: np.maximum(z, 0), lambda a: a > 0),
    "softmax": (lambda z: np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True)), None),  # exp(z) / sum of exp(z)
}


def sgd_step(weights: list[Array], gradients: list[Array], velocity: list[Array], eta: float, alpha: float) -> None:
    """One update in place, by the exercise's formula with learning rate eta and momentum alpha."""
    for w, gradient, delta in zip(weights, gradients, velocity, strict=True):
        delta[:] = alpha * delta - eta * gradient
        w[:] += delta


class NumpyNetwork(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A multi-layer perceptron in float64, as a classifier of scikit-learn's; its arguments are those of `NumpyMLP`."""

    def __init__(
        self,
        hidden: Sequence[int] = (42,),
        activation: Activation = "logistic",
        loss: Literal["quadratic", "cross_entropy"] = "quadratic",
        learning_rate: float = 0.001,
        momentum: float = 0.9,
        epochs: int = 20,
        batch_size: int = 32,
        random_state: int = 0,
    ) -> None:
        self.hidden, self.activation, self.loss, self.learning_rate = hidden, activation, loss, learning_rate
        self.momentum, self.epochs, self.batch_size, self.random_state = momentum, epochs, batch_size, random_state

    def initialise(self, inputs: int, outputs: int, random: np.random.RandomState) -> None:
        """Draws weights ``coefs_`` so small that no sigmoid saturates (Glorot, Bengio 2010); ``intercepts_`` are 0."""
        sizes = list(pairwise([inputs, *self.hidden, outputs]))
        self.coefs_ = [random.uniform(-1, 1, (n, m)) * (6 / (n + m)) ** 0.5 for n, m in sizes]
        self.intercepts_ = [np.zeros(m) for _, m in sizes]

    def forward(self, x: NDArray[Any]) -> list[Array]:
        """What each layer gives for samples x (N, inputs): x itself first, the output last, all (N, width)."""
        layers = [np.asarray(x, np.float64)]
        names = [self.activation] * len(self.hidden) + [_OUTPUTS[self.loss]]
        for weights, biases, name in zip(self.coefs_, self.intercepts_, names, strict=True):
            layers.append(_ACTIVATIONS[name][0](layers[-1] @ weights + biases))
        return layers

    def error(self, x: NDArray[Any], y: Array) -> float:
        """The loss of samples x (N, inputs) with targets y (N, outputs): a sum over both, as in the exercise."""
        output = self.forward(x)[-1]
        return float(np.sum((y - output) ** 2) if self.loss == "quadratic" else -np.sum(y * np.log(output + 1e-300)))

    def gradients(self, x: NDArray[Any], y: Array) -> list[Array]:
        """Slopes of `error` at x (N, inputs) and targets y (N, outputs) by each layer's weights, then its biases."""
        *layers, output = self.forward(x)
        deltas = [output - y]  # slopes by the output layer's z; of cross-entropy behind softmax that is all
        if self.loss == "quadratic":
            deltas[0] *= 2 * output * (1 - output)
        for weights, layer in zip(self.coefs_[:0:-1], layers[:0:-1], strict=True):  # from the last layer to the first
            deltas.insert(0, deltas[0] @ weights.T * _ACTIVATIONS[self.activation][1](layer))
        return [layer.T @ d for layer, d in zip(layers, deltas, strict=True)] + [d.sum(0) for d in deltas]

    def fit(self, x: NDArray[Any], y: NDArray[Any]) -> NumpyNetwork:
        """Trains new weights on x (N, features), y (N,), each sample once an epoch; a `UserError` if that diverges."""
        x, y = validate_data(self, x, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        y = np.eye(len(self.classes_))[codes]  # targets: 1 for the sample's class, 0 for the others
        random = check_random_state(self.random_state)
        self.initialise(x.shape[1], len(self.classes_), random)
        weights = [*self.coefs_, *self.intercepts_]
        velocity = [np.zeros_like(w) for w in weights]
        for _ in range(self.epochs):
            for batch in np.split(random.permutation(len(x)), range(self.batch_size, len(x), self.batch_size)):
                sgd_step(weights, self.gradients(x[batch], y[batch]), velocity, self.learning_rate, self.momentum)
        if not all(np.isfinite(w).all() for w in weights):
            raise UserError(f"the training diverged at a learning_rate of {self.learning_rate}: lower it")
        return self

    def predict_proba(self, x: NDArray[Any]) -> Array:
        """Shares of the classes, shape (N, classes): outputs over their sum, which of sigmoids is not 1."""
        check_is_fitted(self)
        output = self.forward(validate_data(self, x, reset=False))[-1] + 1e-300  # all may have underflowed to 0
        return np.asarray(output / output.sum(1, keepdims=True))

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """The class with the largest output for each sample of x (N, features), shape (N,)."""
        best = self.predict_proba(x).argmax(1)
        return np.asarray(self.classes_[best])


class NumpyMLP(Baseline):
    """The exercise's network from scratch, in numpy: sigmoids, quadratic loss, SGD with momentum.

    Args:
        hidden: Neurons of each hidden layer.
        activation: Behind each hidden layer; ``logistic`` is the exercise's sigmoid.
        loss: ``quadratic``, (target - output)^2 behind sigmoids, or ``cross_entropy`` behind a softmax.
        learning_rate: Length of a step for a gradient of 1 (eta). Gradients are summed: halve it for twice the batch.
        momentum: Share of the last step that the next one repeats (alpha), from 0 (none) to below 1.
        epochs: Passes over the training part.
        batch_size: Samples a step.
        **options: ``max_samples`` and ``seed`` of `Baseline`; the seed is that of weights and of the samples' order.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (42,),
        activation: Activation = "logistic",
        loss: Literal["quadratic", "cross_entropy"] = "quadratic",
        learning_rate: float = 0.001,
        momentum: float = 0.9,
        epochs: int = 20,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.options = hidden, activation, loss, learning_rate, momentum, epochs, batch_size
        known = activation in get_args(Activation) and loss in _OUTPUTS
        if not (known and 0 < learning_rate < np.inf and 0 <= momentum < 1 <= min([epochs, batch_size, *hidden])):
            names = f"activation must be one of {get_args(Activation)}, loss of {tuple(_OUTPUTS)}"
            raise UserError(f"{names}, momentum from 0 to below 1, other numbers positive; got {self.make()}")

    def make(self) -> BaseEstimator:
        """A new network."""
        return NumpyNetwork(*self.options, random_state=self.random_state)
