"""Small Keras nets that have every layer and every option that is read, one or two of them each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["ACTIVATIONS", "NETS", "Net"]

IMAGE, ODD, ROW, VECTOR = (8, 8, 3), (7, 9, 4), (9, 5), (6,)

# With what they are without options, in both versions that write files.
ACTIVATIONS = (
    *("linear", "relu", "relu6", "sigmoid", "tanh", "softmax", "log_softmax", "silu", "swish", "hard_sigmoid"),
    *("hard_silu", "hard_tanh", "elu", "selu", "celu", "gelu", "softplus", "softsign", "leaky_relu", "mish"),
    *("exponential", "log_sigmoid", "tanh_shrink", "soft_shrink", "hard_shrink"),
)


@dataclass(frozen=True)
class Net:
    """A net.

    Attributes:
        make: Takes ``keras.layers`` and the inputs, and returns the output.
        shapes: Of the inputs.
        dtype: Of the inputs.
        formats: In which it is saved.
        backends: On which Keras computes what its documentation says.
    """

    make: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"
    formats: tuple[str, ...] = ("keras", "h5")
    backends: tuple[str, ...] = ("tensorflow", "torch")


def _net(make: Callable[..., Any], *shapes: tuple[int, ...], **options: Any) -> Net:
    return Net(make, shapes, **options)


def _layer(kind: str, shape: tuple[int, ...], *args: Any, net: dict[str, Any] | None = None, **options: Any) -> Net:
    return _net(lambda k, x: getattr(k, kind)(*args, **options)(x), shape, **(net or {}))


def _shared(k: Any, x: Any, y: Any) -> Any:
    dense = k.Dense(6, activation="tanh")
    return k.Concatenate()([dense(x), k.Dense(3)(dense(y)), dense(dense(x))])


def _inner(k: Any, name: str) -> Any:
    from mcubench.parity import load_keras

    keras = load_keras()
    x = keras.Input((8, 8, 3))
    inside = keras.Sequential([keras.Input((6, 6, 4)), k.BatchNormalization(name="norm"), k.ReLU()], name="inside")
    return keras.Model(x, inside(k.Conv2D(4, 3, name="conv")(x)), name=name)


def _nested(k: Any, x: Any) -> Any:
    model = _inner(k, "body")
    return k.Dense(2)(k.Flatten()(k.Add()([model(x), model(k.Dropout(0.5)(x))])))


def _residual(k: Any, x: Any) -> Any:
    y = k.BatchNormalization()(k.Conv2D(3, 3, padding="same", use_bias=False)(x))
    y = k.Activation("relu")(k.Add()([k.Activation("relu")(y), x]))
    y = k.DepthwiseConv2D(3, 2)(k.ZeroPadding2D(((0, 1), (0, 1)))(y))
    return k.Dense(4, activation="softmax")(k.GlobalAveragePooling2D()(k.ReLU(6.0)(y)))


_TF = {"backends": ("tensorflow",)}
_ZIP = {"formats": ("keras",)}
_MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
_TRAINING = {
    **{"Dropout": 0.5, "SpatialDropout2D": 0.5, "AlphaDropout": 0.5, "GaussianDropout": 0.5, "GaussianNoise": 0.5},
    **{"RandomFlip": "horizontal", "RandomRotation": 0.1, "RandomZoom": 0.1, "RandomContrast": 0.1},
}

NETS: dict[str, Net] = {
    **{f"activation {name}": _layer("Activation", ROW, name) for name in ACTIVATIONS},
    **{f"dense {name}": _layer("Dense", VECTOR, 4, activation=name) for name in ("relu", "gelu", "softmax")},
    "dense of rows": _layer("Dense", ROW, 4, use_bias=False),
    "dense with a layer": _net(lambda k, x: k.Dense(4, activation=k.LeakyReLU(negative_slope=0.1))(x), VECTOR),
    "conv1d": _layer("Conv1D", ROW, 4, 3, activation="relu"),
    "conv1d same": _layer("Conv1D", ROW, 4, 4, strides=2, padding="same"),
    "conv1d causal": _layer("Conv1D", ROW, 4, 3, padding="causal", dilation_rate=2),
    "conv2d": _layer("Conv2D", IMAGE, 4, (3, 2), strides=(2, 1), activation="tanh"),
    "conv2d same": _layer("Conv2D", IMAGE, 4, 3, padding="same", use_bias=False),
    "conv2d same, strided": _layer("Conv2D", IMAGE, 4, 3, strides=2, padding="same", activation="softmax"),
    "conv2d same, odd": _layer("Conv2D", ODD, 4, (2, 5), strides=(2, 3), padding="same"),
    "conv2d dilated": _layer("Conv2D", IMAGE, 4, 3, dilation_rate=2, padding="same"),
    "conv2d grouped": _layer("Conv2D", ODD, 6, 3, groups=2),
    "depthwise1d": _layer("DepthwiseConv1D", ROW, 3, padding="same", depth_multiplier=2),
    "depthwise2d": _layer("DepthwiseConv2D", IMAGE, 3, strides=2, padding="same", depth_multiplier=2),
    "depthwise2d valid": _layer("DepthwiseConv2D", ODD, (3, 2), activation="relu", use_bias=False),
    "separable1d": _layer("SeparableConv1D", ROW, 4, 3, activation="relu"),
    "separable2d": _layer("SeparableConv2D", IMAGE, 4, 3, strides=2, padding="same", depth_multiplier=2),
    "transposed1d": _layer("Conv1DTranspose", ROW, 4, 3, strides=2),
    "transposed1d same": _layer("Conv1DTranspose", ROW, 4, 4, strides=2, padding="same", activation="relu"),
    "transposed2d": _layer("Conv2DTranspose", IMAGE, 4, (3, 2), strides=(2, 3), use_bias=False),
    "transposed2d same": _layer("Conv2DTranspose", IMAGE, 4, 3, strides=2, padding="same", net=_TF),
    "transposed2d same, wide": _layer("Conv2DTranspose", ODD, 4, (5, 2), strides=(1, 3), padding="same", net=_TF),
    **{f"{kind.lower()} pooling 1d, {padding}": _layer(f"{kind}Pooling1D", ROW, 2, 2, padding, net=_TF)
       for kind in ("Max", "Average") for padding in ("valid", "same")},
    **{f"{kind.lower()} pooling 2d, {size} / {stride}, {padding}": _layer(
        f"{kind}Pooling2D", ODD, size, stride, padding, net=_TF)
       for kind in ("Max", "Average")
       for size, stride in ((2, 2), ((3, 2), (2, 1)), ((2, 3), (1, 2)), (2, 3))
       for padding in ("valid", "same")},
    **{f"global {kind.lower()} pooling {rank}d, {kept}": _layer(
        f"Global{kind}Pooling{rank}D", ROW if rank == 1 else ODD, keepdims=kept)
       for kind in ("Max", "Average") for rank in (1, 2) for kept in (False, True)},
    "batch norm": _layer("BatchNormalization", IMAGE),
    "batch norm of vectors": _layer("BatchNormalization", VECTOR, scale=False, epsilon=0.01),
    "batch norm of rows": _layer("BatchNormalization", ROW, center=False),
    "batch norm of the first axis": _layer("BatchNormalization", ODD, axis=1),
    "layer norm": _layer("LayerNormalization", ROW, epsilon=0.01),
    "layer norm of two axes": _layer("LayerNormalization", IMAGE, axis=(2, 3), scale=False, net=_ZIP),
    "layer norm of a middle axis": _layer("LayerNormalization", IMAGE, axis=2, net=_TF),
    "relu": _layer("ReLU", ROW),
    "relu with all": _layer("ReLU", ROW, max_value=1.2, negative_slope=0.3, threshold=0.2),
    "relu with a slope": _layer("ReLU", ROW, negative_slope=0.3),
    "relu with a slope and a limit": _layer("ReLU", ROW, 0.5, negative_slope=0.3),
    "relu with a threshold": _layer("ReLU", ROW, threshold=0.5),
    "leaky relu": _layer("LeakyReLU", IMAGE, negative_slope=0.15),
    "prelu": _layer("PReLU", ROW),
    "prelu of channels": _layer("PReLU", IMAGE, shared_axes=(1, 2)),
    "elu": _layer("ELU", ROW, alpha=0.7),
    "softmax": _layer("Softmax", IMAGE),
    "softmax of rows": _layer("Softmax", IMAGE, axis=2),
    "flatten": _net(lambda k, x: k.Dense(3)(k.Flatten()(k.Conv2D(4, 3)(x))), IMAGE),
    "reshape": _net(lambda k, x: k.Reshape((3, -1, 2))(k.Permute((2, 3, 1))(x)), IMAGE),
    "training only": _net(
        lambda k, x: k.Conv2D(2, 3)(_all_of(k, x)), IMAGE),
    **{kind.lower(): _net(lambda k, x, y, kind=kind: getattr(k, kind)()([x, y]), IMAGE, IMAGE) for kind in _MERGES},
    "add of three": _net(lambda k, *each: k.Add()(list(each)), VECTOR, VECTOR, VECTOR),
    "average of three": _net(lambda k, *each: k.Average()(list(each)), VECTOR, VECTOR, VECTOR),
    "multiply by a gate": _net(
        lambda k, x: k.Multiply()([x, k.Dense(3, "sigmoid")(k.GlobalAveragePooling2D(keepdims=True)(x))]), IMAGE),
    "concatenate": _net(lambda k, x, y: k.Concatenate(axis=1)([x, y]), ROW, (3, 5)),
    "concatenate of convolutions": _net(
        lambda k, x: k.Concatenate()([k.Conv2D(2, 3)(x), k.Conv2D(3, 3, activation="relu")(x)]), IMAGE),
    "zero padding 1d": _layer("ZeroPadding1D", ROW, (1, 2)),
    "zero padding 2d": _layer("ZeroPadding2D", IMAGE, ((1, 2), (0, 3))),
    "cropping 1d": _layer("Cropping1D", ROW, (1, 2)),
    "cropping 2d": _layer("Cropping2D", IMAGE, ((1, 2), (0, 3))),
    "up sampling 1d": _layer("UpSampling1D", ROW, 3),
    "up sampling 2d": _layer("UpSampling2D", ODD, (2, 3)),
    "up sampling 2d, bilinear": _layer("UpSampling2D", ODD, (2, 3), interpolation="bilinear", net=_TF),
    "repeat vector": _layer("RepeatVector", VECTOR, 3),
    "rescaling": _layer("Rescaling", IMAGE, 0.25, offset=-1.0),
    "rescaling of bytes": _layer("Rescaling", IMAGE, 1 / 255, net={"dtype": "uint8"}),
    "normalization": _layer("Normalization", IMAGE, mean=[1.0, 2.0, 3.0], variance=[1.0, 0.5, 2.0]),
    "normalization by one": _layer("Normalization", VECTOR, axis=None, mean=1.0, variance=0.5, invert=True, net=_ZIP),
    "normalization, adapted": _layer("Normalization", ROW),
    "embedding": _net(lambda k, x: k.Dense(2)(k.Embedding(10, 4)(x)), VECTOR, dtype="int32"),
    "embedding of floats": _layer("Embedding", VECTOR, 10, 4),
    **{f"{kind.lower()}, {all_of_it}": _layer(kind, ROW, 4, return_sequences=all_of_it)
       for kind in ("LSTM", "GRU", "SimpleRNN") for all_of_it in (False, True)},
    "lstm without bias": _layer("LSTM", ROW, 4, use_bias=False),
    "gru without bias": _layer("GRU", ROW, 4, use_bias=False),
    "simplernn relu": _layer("SimpleRNN", ROW, 4, activation="relu", use_bias=False),
    **{f"bidirectional {kind.lower()}, {all_of_it}": _net(
        lambda k, x, kind=kind, all_of_it=all_of_it:
            k.Bidirectional(getattr(k, kind)(4, return_sequences=all_of_it))(x), ROW)
       for kind in ("LSTM", "GRU", "SimpleRNN") for all_of_it in (False, True)},
    "shared": _net(_shared, VECTOR, VECTOR),
    "nested": _net(_nested, IMAGE),
    "residual": _net(_residual, IMAGE),
    "two outputs": _net(lambda k, x: [k.Dense(3)(x), k.Dense(2)(k.ReLU()(x))], VECTOR),
}  # fmt: skip


def _all_of(k: Any, x: Any) -> Any:
    for kind, option in _TRAINING.items():
        x = getattr(k, kind)(option)(x)
    return k.Identity()(x)
