"""The configuration of a model, looked through before Keras sees it: what it names is Keras' own, and is known here.

Keras builds what a configuration names. Its safe mode keeps Python code out; here nothing gets in that is not on a
list, and what inference does not need (initial values, regularisers, optimisers) is taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcubench.errors import UserError

__all__ = ["MODELS", "checked", "own_name"]

MODELS = ("Functional", "Model", "Sequential")

_WRAPPERS = ("Bidirectional",)
_CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
# Where Keras has what a layer is configured with, behind ``keras.`` or ``keras.src.``.
_HOMES = ("layers", "models", "activations", "initializers", "regularizers", "constraints", "dtype_policies", "ops")
_VALUES = ("__keras_tensor__", "__tensor__", "__numpy__")
_DEEPEST = 200

_DOT = "__dot__"  # on PyTorch, Keras can't build layers with a dot in their names, as those in our exports have

_ANY = object()
# What Keras 2 wrote, and Keras 3 does not know: of which layers, keys, and the value at which they change nothing.
_OF_KERAS_2: tuple[tuple[tuple[str, ...], tuple[str, ...], Any], ...] = (
    (("DepthwiseConv", "SeparableConv", "Conv1DTranspose", "Conv2DTranspose"), ("groups",), 1),
    (("DepthwiseConv", "SeparableConv"), ("kernel_initializer", "kernel_regularizer", "kernel_constraint"), _ANY),
    (("LSTM", "GRU", "SimpleRNN"), ("time_major",), False),
    (("SpatialDropout",), ("noise_shape", "trainable"), _ANY),
    (("Embedding",), ("input_length",), _ANY),
)


def checked(config: dict[str, Any], known: set[str], zipped: bool) -> dict[str, Any]:
    """A configuration that Keras may see.

    Args:
        config: That of the file.
        known: Names of the classes of layers that can be read.
        zipped: Whether Keras 3's loader reads it, or that of old ``.h5`` files.

    Returns:
        A copy, without what inference does not need.

    Raises:
        UserError: If it names what is not Keras' own, or a layer that can't be read; the text names it.
    """
    for each, depth in _dictionaries(config):
        if depth > _DEEPEST:
            raise UserError(f"its configuration is nested {depth} deep")
        _refuse_foreign(each)
    _refuse_unknown(config, known)
    dotted = {each["name"] for each, _ in _dictionaries(config) if isinstance(each.get("name"), str)}
    renamed = {name: name.replace(".", _DOT) for name in dotted if "." in name}
    mended: dict[str, Any] = _mended(config, zipped, renamed)
    return mended


def own_name(name: str) -> str:
    """What the file calls a layer that Keras has built from what `checked` returns."""
    return name.replace(_DOT, ".")


def _dictionaries(found: Any) -> Iterator[tuple[dict[str, Any], int]]:
    waiting = [(found, 0)]
    while waiting:
        each, depth = waiting.pop()
        if isinstance(each, dict):
            yield each, depth
            waiting.extend((value, depth + 1) for value in each.values())
        elif isinstance(each, list):
            waiting.extend((value, depth + 1) for value in each)


def _name_of(found: dict[str, Any]) -> str:
    inner = found.get("config")
    name = found.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
    return f" at {name}" if isinstance(name, str) else ""


def _refuse_foreign(found: dict[str, Any]) -> None:
    kind = found.get("class_name")
    if kind is None:
        return
    if kind in ("Lambda", "__lambda__"):
        raise UserError(f"{kind}{_name_of(found)} can't be read: it is Python code, and code in a file is never run")
    module, registered = found.get("module"), found.get("registered_name")
    if not isinstance(kind, str) or ">" in kind or (isinstance(registered, str) and ">" in registered):
        raise UserError(f"{registered or kind}{_name_of(found)} can't be read: it is somebody's own class")
    if kind in _VALUES or module in (None, "builtins"):
        return
    first, _, rest = str(module).partition(".")
    home = rest.removeprefix("src.").partition(".")[0]
    if first != "keras" or (home not in _HOMES and rest):
        raise UserError(f"{kind}{_name_of(found)} can't be read: it is of {module}, not one of Keras' layers")


def _refuse_unknown(layer: Any, known: set[str]) -> None:
    """Looks at a layer, and at those within it."""
    if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str):
        raise UserError("its configuration names no class")
    kind, config = layer["class_name"], layer.get("config")
    if kind in MODELS:
        layers = config.get("layers") if isinstance(config, dict) else config
        if not isinstance(layers, list):
            raise UserError(f"{kind}{_name_of(layer)} can't be read: it has no list of layers")
        for each in layers:
            _refuse_unknown(each, known)
        return
    if kind not in known:
        raise UserError(f"{kind}{_name_of(layer)} can't be read: there is no rule for it")
    if not isinstance(config, dict):
        raise UserError(f"{kind}{_name_of(layer)} can't be read: it has no configuration")
    if kind in _WRAPPERS:
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                _refuse_unknown(config[name], known)


def _mended(found: Any, zipped: bool, renamed: dict[str, str]) -> Any:
    if isinstance(found, str):
        return renamed.get(found, found)
    if isinstance(found, list):
        return [_mended(each, zipped, renamed) for each in found]
    if not isinstance(found, dict):
        return found
    kept = {key: value for key, value in found.items() if key != "compile_config"}
    kind, config = kept.get("class_name"), kept.get("config")
    if isinstance(kind, str) and isinstance(config, dict) and kind not in _VALUES:
        kept["config"] = _layer_options(kind, config, zipped)
    return {key: _mended(value, zipped, renamed) for key, value in kept.items()}


def _is_of_keras_2(kind: str, key: str, value: Any) -> bool:
    return any(
        kind.startswith(kinds) and key in keys and (same is _ANY or value == same) for kinds, keys, same in _OF_KERAS_2
    )


def _layer_options(kind: str, config: dict[str, Any], zipped: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if _is_of_keras_2(kind, key, value) or (key == "batch_input_shape" and zipped and kind != "InputLayer"):
            continue
        if key.endswith("_initializer"):
            found[key] = "zeros"
        else:
            found[key] = None if key.endswith(("_regularizer", "_constraint")) else value
    axis = found.get("axis")
    if isinstance(axis, list) and len(axis) == 1:  # of batch norm, in Keras 2
        found["axis"] = axis[0]
    elif isinstance(axis, list) and not zipped:
        # Keras 3's loader of old files passes over such a list, and takes the last axis.
        raise UserError(f"{kind} at {config.get('name')} can't be read: Keras loses its axes {axis} in a .h5")
    return found
