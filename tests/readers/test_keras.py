"""Models of Keras read from files.

References: Keras' own outputs on random inputs, counts by hand, the costs of the model that an export was made of.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcubench import UserError
from mcubench.cost import profile, profile_graph
from mcubench.graph import Graph, deploy
from mcubench.graph.interpret import interpret
from mcubench.models import CNN, DSCNN
from mcubench.readers import read_model
from mcubench.readers.keras import windows
from mcubench.readers.keras.site import Site
from tests.conftest import REPOSITORY
from tests.readers.keras_nets import NETS, Net

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")

SAMPLES = 3
TOLERANCE = 1e-5  # of the largest output


@pytest.fixture(scope="module")
def keras() -> Any:
    from mcubench.parity import load_keras

    return load_keras()


def built(keras: Any, net: Net) -> Any:
    """A net with weights as after some training."""
    inputs = [keras.Input(shape, dtype=net.dtype) for shape in net.shapes]
    model = keras.Model(inputs, net.make(keras.layers, *inputs))
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.dtype == "float32":
            positive = "variance" in variable.path
            value = generator.uniform(0.3, 2.0, variable.shape) if positive else generator.normal(size=variable.shape)
            variable.assign(value.astype("float32"))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # of Normalization, whose variables were adapted
            layer.finalize_state()
    return model


def samples(net: Net) -> list[NDArray[Any]]:
    generator = np.random.default_rng(1)
    if net.dtype != "float32":
        return [generator.integers(0, 10, (SAMPLES, *shape)).astype(net.dtype) for shape in net.shapes]
    if net is NETS["embedding of floats"]:
        return [generator.integers(0, 10, (SAMPLES, 6)).astype("float32")]
    return [generator.normal(size=(SAMPLES, *shape)).astype("float32") for shape in net.shapes]


def saved(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def off(graph: Graph, xs: list[NDArray[Any]], wanted: list[Any]) -> float:
    """The largest difference of an output, relative to the largest element of it."""
    found = interpret(graph, *_moved(xs, graph.input_axes_moved))
    errors = []
    for y, reference in zip(found, _moved(wanted, graph.output_axes_moved), strict=True):
        assert y.shape == reference.shape
        errors.append(float((y - reference).abs().max() / reference.abs().max()))
    return max(errors)


def _moved(arrays: list[NDArray[Any]], axes: tuple[int, ...]) -> list[Tensor]:
    """As a deployed graph has them, with the second axis behind so many others."""
    tensors = [torch.from_numpy(np.array(each)) for each in arrays]
    return [x.movedim(1, 1 + n) for x, n in zip(tensors, axes or (0,) * len(tensors), strict=True)]


def outputs(model: Any, xs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """What Keras computes when it predicts."""
    found = model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("name", NETS)
def test_every_layer_computes_what_keras_does(keras: Any, name: str, tmp_path: Path) -> None:
    net = NETS[name]
    if keras.backend.backend() not in net.backends:
        pytest.skip("on this backend Keras computes something else")
    model, xs = built(keras, net), samples(net)
    wanted = outputs(model, xs)
    for suffix in net.formats:
        graph = read_model(saved(model, tmp_path / f"net.{suffix}")).graph
        assert not graph.unknown()
        assert not graph.notes  # the batch was found
        assert off(graph, xs, wanted) <= TOLERANCE, suffix
        assert off(deploy(graph), xs, wanted) <= TOLERANCE, suffix


def one(keras: Any, *layers: Any, shape: tuple[int, ...] = (8, 8, 3)) -> Any:
    return keras.Sequential([keras.Input(shape, name="x"), *layers])


def test_macs_by_hand(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    model = one(
        keras,
        layers.Conv2D(4, 3, strides=2, padding="same"),  # 4 x 4 places, 3 x 3 x 3 products for each of 4 channels
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.SeparableConv2D(5, 3),  # 2 x 2 places: 9 for each of 4 channels, then 4 for each of 5
        layers.Flatten(),
        layers.Dense(7),
    )
    file = read_model(saved(model, tmp_path / "net.keras"))
    report = profile_graph(file.graph, file.name, file.widths)
    assert report.macs == 16 * 27 * 4 + 4 * (9 * 4 + 4 * 5) + 20 * 7
    assert file.widths.weight == file.widths.activation == 32


@pytest.mark.parametrize(("name", "macs"), [("mlperf_tiny_resnet8.h5", 12_501_632), ("tinymaix_mnist_dw.h5", 56_768)])
def test_files_of_others(name: str, macs: int) -> None:
    """Counts by hand; both were written by Keras 2, and one has what Keras 3 refuses."""
    data = os.environ.get("MCUBENCH_DATA")
    folder = (Path(data).resolve() if data else REPOSITORY.parent / "shared" / "data").parent / "models"
    if not (folder / name).is_file():
        pytest.skip(f"no {name} in {folder}")
    file = read_model(folder / name)
    assert profile_graph(file.graph, file.name, file.widths).macs == macs


@pytest.mark.parametrize("make", [CNN, DSCNN])
def test_our_own_export_reads_back(keras: Any, make: Any, tmp_path: Path) -> None:
    from mcubench.parity import to_keras

    module = make(input_shape=(1, 12, 12), num_classes=5).eval()
    x = torch.randn(SAMPLES, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    model = to_keras(module, x[:1])
    graph = read_model(saved(getattr(model, "model", model), tmp_path / "net.keras")).graph
    assert profile_graph(graph, "net").macs == profile(module, x[:1]).macs
    with torch.no_grad():
        wanted = module(x).numpy()
    assert {node.path for node in graph.nodes if list(node.op.weights())} >= {"layers.0"}  # as in the module
    assert off(deploy(graph), [x.permute(0, 2, 3, 1).numpy()], [wanted]) <= TOLERANCE


class TestMistakesAreSeen:
    def error(self, keras: Any, name: str, folder: Path) -> float:
        model, xs = built(keras, NETS[name]), samples(NETS[name])
        return off(read_model(saved(model, folder / "net.keras")).graph, xs, outputs(model, xs))

    def test_another_epsilon(self, keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        right = Site.option
        monkeypatch.setattr(
            Site, "option", lambda at, name, *rest: 1e-5 if name == "epsilon" else right(at, name, *rest)
        )
        assert self.error(keras, "batch norm", tmp_path) > TOLERANCE

    def test_padding_in_front(self, keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        right = windows._around
        monkeypatch.setattr(windows, "_around", lambda *args: [pair[::-1] for pair in right(*args)])
        assert self.error(keras, "conv2d same, strided", tmp_path) > TOLERANCE

    def test_gates_in_another_order(self, keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from mcubench.readers.keras import layers

        monkeypatch.setitem(layers._KINDS, "GRU", ("gru", (0, 1, 2)))
        assert self.error(keras, "gru, True", tmp_path) > TOLERANCE


REFUSED = {
    "channels_first": (lambda k: [k.Conv2D(2, 3, data_format="channels_first")], "Conv2D at c .* channels come first"),
    "masked": (lambda k: [k.Flatten(), k.Embedding(9, 2, mask_zero=True, name="c")], "Embedding at c .* masks"),
    "unknown": (lambda k: [k.UnitNormalization(name="c")], "UnitNormalization at c .* no rule"),
    "unknown activation": (lambda k: [k.Activation("squareplus", name="c")], "Activation at c .* squareplus"),
    "half": (lambda k: [k.Dense(3, dtype="float16", name="c")], "Dense at c .* float16"),
    "across samples": (lambda k: [k.Softmax(axis=0, name="c")], "Softmax at c .* axes"),
    "bicubic": (lambda k: [k.UpSampling2D(2, interpolation="bicubic", name="c")], "UpSampling2D at c .* bicubic"),
    "backwards": (lambda k: [k.Reshape((8, 24)), k.LSTM(3, go_backwards=True, name="c")], "LSTM at c .* backwards"),
    "stateful": (lambda k: [k.Reshape((8, 24)), k.LSTM(3, stateful=True, name="c")], "LSTM at c .* state"),
    "reset before": (lambda k: [k.Reshape((8, 24)), k.GRU(3, reset_after=False, name="c")], "GRU at c .* reset_after"),
    "gates": (lambda k: [k.Reshape((8, 24)), k.LSTM(3, recurrent_activation="tanh", name="c")], "LSTM at c .* gates"),
    "sum": (lambda k: [k.Reshape((8, 24)), k.Bidirectional(k.LSTM(3), "sum", name="c")], "Bidirectional at c .* sum"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(keras: Any, name: str, tmp_path: Path) -> None:
    layers, message = REFUSED[name]
    made = layers(keras.layers)
    if name == "channels_first":
        made[0].name = "c"
    batch = {"batch_size": 2} if name == "stateful" else {}
    x = keras.Input((8, 8, 3), name="x", **batch)
    y = x
    try:
        for layer in made:
            y = layer(y)
    except Exception as error:
        pytest.skip(f"this backend does not build it: {error}")
    path = saved(keras.Model(x, y), tmp_path / "net.keras")
    with pytest.raises(UserError, match=message) as raised:
        read_model(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_names_that_are_not_ascii(keras: Any, tmp_path: Path, suffix: str) -> None:
    path = saved(one(keras, keras.layers.Dense(2, name="größe")), tmp_path / f"net.{suffix}")
    assert {node.path for node in read_model(path).graph.nodes} == {"größe"}


def test_a_size_that_is_open_is_refused(keras: Any, tmp_path: Path) -> None:
    path = saved(one(keras, keras.layers.Conv2D(2, 3), shape=(8, None, 3)), tmp_path / "net.keras")
    with pytest.raises(UserError, match="input x has no size along axis 2"):
        read_model(path)


def test_weights_alone_are_refused(keras: Any, tmp_path: Path) -> None:
    one(keras, keras.layers.Dense(2)).save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(UserError, match="weights alone"):
        read_model(tmp_path / "net.weights.h5")


def test_the_command_prices_it(keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mcubench.cli.main import main

    path = saved(one(keras, keras.layers.Conv2D(4, 3, name="first")), tmp_path / "net.keras")
    assert main(["profile", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "first" in printed
    assert f"{36 * 27 * 4:,} MACs" in printed


def test_without_keras_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"mcubench\[keras\]"):
        read_model(tmp_path / "net.h5")
