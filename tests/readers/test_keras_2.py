"""What Keras 2 wrote, and Keras 3 refuses or computes otherwise.

References: Keras 3's outputs of the same layers and weights; for the function that changed, the formula of Keras 2,
https://github.com/keras-team/tf-keras/blob/v2.19.0/tf_keras/backend.py (``hard_sigmoid``). Keys and values are those
that tf_keras 2.19 writes.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcubench import UserError
from mcubench.graph.interpret import interpret
from mcubench.readers import read_model
from tests.readers.keras_nets import NETS
from tests.readers.test_keras import TOLERANCE, built, off, outputs, samples, saved

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")

_OF_ONE_KERNEL = {"groups": 1, "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}}
KEYS: dict[str, dict[str, Any]] = {
    "depthwise1d": _OF_ONE_KERNEL,
    "depthwise2d": _OF_ONE_KERNEL,
    "separable1d": {**_OF_ONE_KERNEL, "kernel_regularizer": None, "kernel_constraint": None},
    "separable2d": _OF_ONE_KERNEL,
    "transposed1d": {"groups": 1},
    "transposed2d": {"groups": 1},
    "lstm, False": {"time_major": False},
    "gru, True": {"time_major": False},
    "simplernn, False": {"time_major": False},
    "embedding": {"input_length": 6},
    "batch norm": {"axis": [3]},
}


@pytest.fixture(scope="module")
def keras() -> Any:
    from mcubench.parity import load_keras

    return load_keras()


def aged(path: Path, keys: dict[str, Any]) -> Path:
    """A ``.h5`` with keys in the configuration of its first layer, as from Keras 2."""
    import h5py

    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        next(each for each in config["config"]["layers"] if each["class_name"] != "InputLayer")["config"].update(keys)
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.19.0"
    return path


@pytest.mark.parametrize("name", KEYS)
def test_keys_that_keras_3_does_not_know(keras: Any, name: str, tmp_path: Path) -> None:
    model, xs = built(keras, NETS[name]), samples(NETS[name])
    graph = read_model(aged(saved(model, tmp_path / "net.h5"), KEYS[name])).graph
    assert off(graph, xs, outputs(model, xs)) <= TOLERANCE


@pytest.mark.parametrize(("name", "keys"), [("depthwise2d", {"groups": 3}), ("lstm, False", {"time_major": True})])
def test_values_that_change_something_are_refused(keras: Any, name: str, keys: dict[str, Any], tmp_path: Path) -> None:
    path = aged(saved(built(keras, NETS[name]), tmp_path / "net.h5"), keys)
    with pytest.raises(UserError, match=next(iter(keys))):
        read_model(path)


def test_axes_that_the_loader_loses_are_refused(keras: Any, tmp_path: Path) -> None:
    """Without weights nothing else would tell."""
    x = keras.Input((4, 5, 6))
    model = keras.Model(x, keras.layers.LayerNormalization(axis=[2, 3], scale=False, center=False, name="norm")(x))
    with pytest.raises(UserError, match=r"LayerNormalization at norm .* axes \[2, 3\]"):
        read_model(saved(model, tmp_path / "net.h5"))


def test_the_hard_sigmoid_of_each(keras: Any, tmp_path: Path) -> None:
    model = built(keras, NETS["activation hard_sigmoid"])
    (x,) = samples(NETS["activation hard_sigmoid"])
    path = saved(model, tmp_path / "net.h5")

    def computed() -> Any:
        return interpret(read_model(path).graph, torch.from_numpy(x))[0].numpy()

    new = computed()
    aged(path, {})
    old = computed()
    assert np.allclose(new, np.clip(x / 6 + 0.5, 0, 1), atol=TOLERANCE)
    assert np.allclose(old, np.clip(0.2 * x + 0.5, 0, 1), atol=TOLERANCE)
    assert not np.allclose(new, old, atol=0.01)
