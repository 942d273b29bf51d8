"""``export`` as a user types it; the files that it writes are read back by other packages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from mcubench.cli.main import main
from mcubench.cli.verbs import export
from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.export import backend, interpreters
from mcubench.export.tflite import METADATA
from mcubench.models import CNN
from mcubench.quant.training import find_qat_state
from mcubench.results.checkpoint_io import load_checkpoint
from tests.cli.test_main import failure
from tests.trained import digits_run, trained

__all__ = ["digits_run"]

pytest.importorskip("ai_edge_litert")

MY_FILE = """
import lightning.pytorch as pl
import torch
from torch import nn


class Recurrent(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.gru(x.flatten(1, 2))[0][:, -1])

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class Plain(Recurrent):
    def __init__(self):
        super().__init__()
        self.gru = nn.RNN(8, 6, batch_first=True)


class TwoOutputs(Recurrent):
    def __init__(self):
        super().__init__()
        self.gru, self.a, self.b = nn.Identity(), nn.Linear(64, 10), nn.Linear(64, 2)

    def forward(self, x):
        x = x.flatten(1)
        return self.a(x), self.b(x)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0])[0], batch[1])


class TwoInputs(Recurrent):
    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.Identity(), nn.Identity()
        self.a, self.b = nn.Linear(6, 3), nn.Conv1d(2, 3, 3)
        self.example_input_array = torch.zeros(1, 6), torch.zeros(1, 2, 9)

    def forward(self, x, signal):
        return self.a(x) + self.b(signal).mean(-1)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(*batch[0]), batch[1])


class Pairs(pl.LightningDataModule):
    def train_dataloader(self):
        samples = [((torch.randn(6), torch.randn(2, 9)), index % 3) for index in range(40)]
        return torch.utils.data.DataLoader(samples, batch_size=8)
"""


@pytest.fixture
def my_file(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody's in the working folder; a name of its own, as modules are imported once."""
    name = f"my_{workplace.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(MY_FILE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    return name


def exported(run: Path, *options: str) -> int:
    return main(["export", "--ckpt_path", str(run), *options])


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def metadata(content: bytes) -> dict[str, Any]:
    """The JSON in a ``.tflite``, read with LiteRT's schema."""
    model = backend.load("ai_edge_litert.schema_py_generated").Model.GetRootAsModel(content, 0)
    (entry,) = (model.Metadata(index) for index in range(model.MetadataLength()))
    assert entry.Name() == METADATA.encode()
    found: dict[str, Any] = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return found


def test_what_is_written_by_default(digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(digits_run, "--output", "made") == 0
    assert sorted(path.name for path in Path("made").iterdir()) == ["model.json", "model.tflite"]
    card, content = manifest(Path("made/model.json")), Path("made/model.tflite").read_bytes()
    file = card["files"]["tflite"]
    assert file["bytes"] == len(content)
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    # LiteRT says what the file's input and output are
    interpreter = backend.load("ai_edge_litert.interpreter").Interpreter(model_content=content)
    for described, (found,) in (
        (file["input"], interpreter.get_input_details()),
        (file["output"], interpreter.get_output_details()),
    ):
        assert described["shape"] == found["shape"].tolist()
        assert (np.float32(described["scale"]), described["zero_point"]) == found["quantization"]
        assert described["dtype"] == np.dtype(found["dtype"]).name
    names = {each["op_name"] for each in interpreter._get_ops_details()} - {"DELEGATE"}
    assert names <= set(card["operators"])
    data = Digits(size=8)
    data.setup()
    scaling = data.describe()["inputs"]["scaling"]
    described = {"shape": [1, 8, 8], "units": data.units, "dtype": "uint8"}
    assert card["sample"] == {**described, "scaling": {"kind": "standardise", **scaling}}
    assert card["class_names"] == list("0123456789")
    assert (card["model"], card["data"]) == ("CNN", "Digits")
    assert (card["run"], card["checkpoint"]) == (digits_run.name, "last.ckpt")
    assert card["git_commit"] == json.loads((digits_run / "result.json").read_text())["git_commit"]
    # 4 channels of 8 x 8 and their pooled halves
    assert card["arena"]["planned_head"] == 8 * 8 * 4 + 4 * 4 * 4
    assert card["flash_estimate"] == 9 * 4 + 64 * 10 + (4 + 10) * (4 + 8)
    inside = metadata(content)
    assert inside == {key: card[key] for key in inside}
    assert {"sample", "class_names", "run", "checkpoint", "git_commit", "quantization", "mcubench"} <= inside.keys()
    assert "observed on 1,000 training samples of Digits (minmax)" in inside["quantization"]["ranges"]
    printed = capsys.readouterr().out
    assert "operators CONV_2D, MAX_POOL_2D, RESHAPE, FULLY_CONNECTED" in printed
    assert "made/model.tflite" in printed


def test_by_default_into_the_runs_folder(tmp_path: Path) -> None:
    run = trained(tmp_path, "--data.size", "8")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert exported(run) == 0
    assert {path.name for path in (run / "export").iterdir()} == {"model.json", "model.tflite"}
    assert {path: path.read_bytes() for path in before} == before
    lonely = tmp_path / "net.ckpt"
    lonely.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    assert exported(lonely, "--data", "Digits", "--data.size", "8") == 0
    card = manifest(tmp_path / "export" / "model.json")
    assert (card["run"], card["git_commit"], card["checkpoint"]) == (None, None, "net.ckpt")


def test_fewer_bits(digits_run: Path, workplace: Path) -> None:
    for bits in ("8", "4"):
        assert exported(digits_run, "--output", f"{bits}.tflite", "--weight_bits", bits) == 0
    layered = ["--weight_bits", "8", "--bits_per_layer", '{"layers.0": 4}']
    assert exported(digits_run, "--output", "layer.tflite", *layered) == 0
    card = manifest(Path("layer.json"))
    assert card["quantization"]["bits_per_layer"] == {"layers.0": 4}
    assert manifest(Path("4.json"))["flash_estimate"] == (9 * 4 + 64 * 10) // 2 + (4 + 10) * (4 + 8)
    schema = backend.load("ai_edge_litert.schema_py_generated")
    kinds = {}
    for name in ("8", "4", "layer"):
        main_graph = schema.Model.GetRootAsModel(Path(f"{name}.tflite").read_bytes(), 0).Subgraphs(0)
        found = [main_graph.Tensors(index) for index in range(main_graph.TensorsLength())]
        kinds[name] = {each.Type() for each in found if b"0.weight" in each.Name()}
    assert kinds == {"8": {schema.TensorType.INT8}, "4": {schema.TensorType.INT4}, "layer": {schema.TensorType.INT4}}


def test_ranges_are_observed_on_training_data_only(
    digits_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Digits) -> None:
        raise AssertionError("the test set was asked for")

    monkeypatch.setattr(Digits, "test_dataloader", never)
    monkeypatch.setattr(Digits, "predict_dataloader", never)
    monkeypatch.setattr(Digits, "val_dataloader", never)
    seen: list[torch.Tensor] = []
    original = export.quantized.__globals__["quantize"]

    def quantize(*args: Any, **options: Any) -> Any:
        seen.append(options["calibration"])
        return original(*args, **options)

    monkeypatch.setitem(export.quantized.__globals__, "quantize", quantize)
    assert exported(digits_run, "--output", "a", "--calibration_samples", "50", "--observer", "mse") == 0
    data = Digits(size=8)
    training = {each.tobytes() for each in data.arrays("train")[0]}
    assert len(seen[0]) == 50
    assert all(each.numpy().tobytes() in training for each in seen[0])
    assert "50 training samples of Digits (mse)" in manifest(Path("a/model.json"))["quantization"]["ranges"]


def test_keras_gets_the_float_model(digits_run: Path, workplace: Path) -> None:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("this process has Keras on another backend")
    assert exported(digits_run, "--format", "keras", "--output", "net.keras") == 0
    card = manifest(Path("net.json"))
    file = card["files"]["keras"]
    assert "float" in file["note"]
    assert "quantization" not in card
    x = Digits(size=8).arrays("test")[0]
    read = keras.saving.load_model("net.keras")
    assert [None, *read.input_shape[1:]] == file["input"]["shape"] == [None, 8, 8, 1]
    theirs = read.predict(x.transpose(file["input"]["permutation"]), verbose=0)
    ours = CNN((1, 8, 8), 10, channels=4)
    ours.load_state_dict(load_checkpoint(digits_run / "checkpoints" / "last.ckpt")["state_dict"])
    with torch.no_grad():
        np.testing.assert_allclose(theirs, ours.eval()(torch.tensor(x)).numpy(), rtol=1e-4, atol=1e-5)


def test_all_formats_in_one_folder(digits_run: Path, workplace: Path) -> None:
    pytest.importorskip("onnxscript")
    assert exported(digits_run, "--format", "tflm", "onnx", "tflite", "--output", "made") == 0
    card = manifest(Path("made/model.json"))
    assert list(card["files"]) == ["tflm", "onnx", "tflite"]
    for each in card["files"].values():
        assert each["sha256"] == hashlib.sha256(Path("made", each["name"]).read_bytes()).hexdigest()
    source = Path("made/model.c").read_text()
    numbers = source.partition("= {")[2].partition("}")[0].replace(",", " ").split()
    assert bytes(map(int, numbers)) == Path("made/model.tflite").read_bytes()
    header = Path("made/model.h").read_text()
    assert "resolver.AddMaxPool2D();" in header
    assert f"#define MODEL_ARENA_BYTES {card['arena']['recorded']['smallest']}" in header
    model = backend.load("onnx").load("made/model.onnx")
    (prop,) = model.metadata_props
    assert json.loads(prop.value)["sample"] == card["sample"]
    assert card["files"]["onnx"]["input"] == {"dtype": "float32", "shape": [None, 1, 8, 8], "permutation": None}
    assert not list(Path("made").glob(".*")), "nothing temporary is left"


def test_without_tflite_micro(digits_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "installed", lambda package: False)
    assert exported(digits_run, "--format", "tflite", "tflm", "--output", "made") == 0
    assert manifest(Path("made/model.json"))["arena"]["recorded"] is None
    assert "ARENA_BYTES" not in Path("made/model.h").read_text().replace("ARENA_HEAD_BYTES", "")


@pytest.mark.parametrize(("chosen", "package"), [("tflite", "ai_edge_litert"), ("onnx", "onnxscript")])
def test_a_missing_package_is_named_before_the_work(
    digits_run: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    chosen: str,
    package: str,
) -> None:
    def load(module: str) -> ModuleType:
        if module.startswith(package):
            raise UserError(f"this needs the package {package}: pip install mcubench[export]")
        return original(module)

    def never(*_: object) -> None:
        raise AssertionError("work was begun")

    original = backend.load
    monkeypatch.setattr(export, "load", load)
    monkeypatch.setattr(export, "quantized", never)
    line = failure(capsys, "export", "--ckpt_path", str(digits_run), "--format", chosen, "--output", "a")
    assert f"this needs the package {package}: pip install mcubench[export]" in line
    assert not Path("a").exists()


def test_a_package_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"needs the package nothing_of_this_name: pip install mcubench\[export\]"):
        backend.load("nothing_of_this_name.inside")


def test_a_failed_write_leaves_what_was_there(
    digits_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(digits_run, "--output", "made") == 0
    before = Path("made/model.tflite").read_bytes()

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        line = failure(capsys, "export", "--ckpt_path", str(digits_run), "--output", "made", "--weight_bits", "4")
    assert "made can't be written to: No space left on device" in line
    assert Path("made/model.tflite").read_bytes() == before
    assert sorted(path.name for path in Path("made").iterdir()) == ["model.json", "model.tflite"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight_bits", "3"], "--weight_bits must be 8, 4 or 2; got 3"),
        (["--bits_per_layer", '{"layers.0": 16}'], "--bits_per_layer layers.0: must be 8, 4 or 2; got 16"),
        (["--bits_per_layer", '{"layers.9": 4}'], "there is no layer 'layers.9' with weights"),
        (["--calibration_samples", "0"], "--calibration_samples must be at least 1; got 0"),
        (["--format", "tflight"], "tflight"),
        (["--output", "net.tflite", "--format", "c"], "--output net.tflite is a file of format tflite, asked for is c"),
        (["--output", "net.c", "--format", "tflm", "onnx"], "asked for is tflm onnx: give a folder"),
        (["--output", "taken.txt"], "--output taken.txt is a file, and its name is of no format"),
        (["--output", "folder.json/net.c", "--format", "c"], "folder.json"),
        (["--output", "/proc/nowhere"], "/proc/nowhere/model.json can't be written"),
        (["--observer", "median"], "--observer"),
        (["--model.channels", "5"], "does not fit this model"),
    ],
)
def test_wrong_options_are_one_line(
    digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    Path("taken.txt").write_text("mine")
    Path("folder.json").write_text("mine")
    assert message in failure(capsys, "export", "--ckpt_path", str(digits_run), *options)
    assert Path("taken.txt").read_text() == "mine"


def test_an_untrained_model_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "export needs a trained model" in failure(capsys, "export", "--model", "CNN", "--data", "Digits")
    assert "there is no run" in failure(capsys, "export", "--ckpt_path", "best")


def test_a_classical_model_is_refused_by_formats_of_networks(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(Path("runs"), "--model", "GaussianNB", "--data.size", "8")
    line = failure(capsys, "export", "--ckpt_path", str(run))
    assert "GaussianNB is a classical model, and tflite holds networks: use --format c" in line


def test_a_recurrent_layer_without_a_kernel_is_named(my_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(Path("runs"), "--model", f"{my_file}.Plain", "--data", "Digits", "--data.size", "8")
    line = failure(capsys, "export", "--ckpt_path", str(run))
    assert "gru" in line
    assert "can't be computed in int8" in line
    assert "in float, --format onnx --float writes it" in line
    assert not (run / "export").exists()


@pytest.mark.slow
def test_several_outputs_in_every_format(my_file: str) -> None:
    """LiteRT and onnxruntime say what the files have; the C header names each."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = trained(Path("runs"), "--model", f"{my_file}.TwoOutputs", "--data", "Digits", "--data.size", "8")
    assert exported(run, "--format", "tflite", "tflm", "onnx", "--output", "made") == 0
    files = manifest(Path("made/model.json"))["files"]
    content = Path("made/model.tflite").read_bytes()
    interpreter = backend.load("ai_edge_litert.interpreter").Interpreter(model_content=content)
    assert [each["name"] for each in files["tflite"]["outputs"]] == ["output_0", "output_1"]
    for described, found in zip(files["tflite"]["outputs"], interpreter.get_output_details(), strict=True):
        assert described["shape"] == found["shape"].tolist()
        assert (np.float32(described["scale"]), described["zero_point"]) == found["quantization"]
    header = Path("made/model.h").read_text()
    assert "#define MODEL_OUTPUT_0_SIZE 10" in header
    assert "#define MODEL_OUTPUT_1_SIZE 2" in header
    assert "#define MODEL_INPUT_SIZE 64" in header
    session = onnxruntime.InferenceSession("made/model.onnx")
    assert [each.name for each in session.get_outputs()] == [each["name"] for each in files["onnx"]["outputs"]]
    assert [each["shape"] for each in files["onnx"]["outputs"]] == [[None, 10], [None, 2]]


@pytest.mark.slow
def test_several_inputs_in_every_format(my_file: str, workplace: Path) -> None:
    """TFLite Micro and onnxruntime are the witnesses; ranges are observed on the tensors that a batch begins with."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    options = ["--model", f"{my_file}.TwoInputs", "--data", f"{my_file}.Pairs"]
    run = trained(Path("runs"), *options)
    assert exported(run, "--format", "tflite", "tflm", "onnx", "--output", "made") == 0
    card = manifest(Path("made/model.json"))
    assert card["sample"]["shape"] == [[6], [2, 9]]
    assert [each["shape"] for each in card["files"]["onnx"]["inputs"]] == [[None, 6], [None, 2, 9]]
    codes = [np.full(each["shape"], each["zero_point"], np.int8) for each in card["files"]["tflite"]["inputs"]]
    (made,) = interpreters.run_litert(Path("made/model.tflite").read_bytes(), *codes)
    output = card["files"]["tflite"]["output"]
    ours = output["scale"] * (made.astype(float) - output["zero_point"])
    session = onnxruntime.InferenceSession("made/model.onnx")
    zeros = {"input_0": np.zeros((1, 6), np.float32), "input_1": np.zeros((1, 2, 9), np.float32)}
    np.testing.assert_allclose(session.run(None, zeros)[0], ours, atol=2.01 * output["scale"])
    assert "#define MODEL_INPUT_1_SIZE 18" in Path("made/model.h").read_text()
    # and in float
    assert exported(run, "--format", "onnx", "--float", "--output", "float.onnx") == 0
    weights = load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    (found,) = onnxruntime.InferenceSession("float.onnx").run(None, zeros)
    np.testing.assert_allclose(found[0], (weights["a.bias"] + weights["b.bias"]).numpy(), atol=1e-6)


def recurrent(my_file: str) -> Path:
    return trained(Path("runs"), "--model", f"{my_file}.Recurrent", "--data", "Digits", "--data.size", "8")


def test_float_onnx_of_a_recurrent_model(my_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The weights in the checkpoint, in torch, are the reference; onnxruntime reads the file."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = recurrent(my_file)
    line = failure(capsys, "export", "--ckpt_path", str(run), "--format", "onnx")
    assert "gru: ONNX has no form of GRU in integers" in line
    assert "--format onnx --float writes the float model" in line
    assert exported(run, "--format", "onnx", "--float", "--opset", "13", "--batch", "2", "--output", "made") == 0
    card = manifest(Path("made/model.json"))
    assert "quantization" not in card
    assert "operators" not in card
    file = card["files"]["onnx"]
    assert file["opset"] == 13
    assert "float" in file["note"]
    assert file["input"] == {"dtype": "float32", "shape": [2, 1, 8, 8], "permutation": None}
    assert file["output"] == {"dtype": "float32", "shape": [2, 10]}
    model = backend.load("onnx").load("made/model.onnx")
    assert [each.version for each in model.opset_import] == [13]
    assert json.loads(model.metadata_props[0].value)["sample"] == card["sample"]
    assert "wrote made/model.onnx" in capsys.readouterr().out
    weights = load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    gru, head = torch.nn.GRU(8, 6, batch_first=True), torch.nn.Linear(6, 10)
    gru.load_state_dict({key[4:]: each for key, each in weights.items() if key.startswith("gru.")})
    head.load_state_dict({key[5:]: each for key, each in weights.items() if key.startswith("head.")})
    x = torch.from_numpy(Digits(size=8).arrays("test")[0][:2].copy())
    with torch.no_grad():
        ours = head(gru(x.flatten(1, 2))[0][:, -1]).numpy()
    session = onnxruntime.InferenceSession("made/model.onnx")
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], ours, atol=1e-5)


@pytest.mark.slow
def test_int8_onnx_of_a_fixed_batch_and_an_older_opset(digits_run: Path, workplace: Path) -> None:
    """The file that takes any number, in the usual opset, is the reference."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert exported(digits_run, "--format", "onnx", "--opset", "13", "--batch", "1", "--output", "old.onnx") == 0
    assert exported(digits_run, "--format", "onnx", "--output", "usual.onnx") == 0
    file = manifest(Path("old.json"))["files"]["onnx"]
    assert (file["opset"], file["input"]["shape"]) == (13, [1, 1, 8, 8])
    assert manifest(Path("usual.json"))["files"]["onnx"]["opset"] == 18
    x = Digits(size=8).arrays("test")[0]
    sessions = [onnxruntime.InferenceSession(name) for name in ("old.onnx", "usual.onnx")]
    assert [each.get_inputs()[0].shape for each in sessions] == [[1, 1, 8, 8], ["batch", 1, 8, 8]]
    (all_at_once,) = sessions[1].run(None, {"input": x[:20]})
    one_by_one = [sessions[0].run(None, {"input": x[index : index + 1]})[0] for index in range(20)]
    np.testing.assert_allclose(np.concatenate(one_by_one), all_at_once, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "onnx", "--opset", "12"], "--opset must be 13 to "),
        (["--format", "onnx", "--opset", "99"], "; got 99"),
        (["--format", "onnx", "--opset", "0"], "; got 0"),
        (["--format", "onnx", "--batch", "0"], "--batch must be at least 1; got 0"),
        (["--opset", "17"], "--opset is for --format onnx, asked for is tflite"),
        (["--format", "c", "--batch", "1"], "--batch is for --format onnx, asked for is c"),
        (["--float"], "--float is for --format onnx, asked for is tflite"),
        (["--format", "onnx", "tflite", "--float"], "tflite holds integers"),
        (["--format", "onnx", "--float", "--weight_bits", "4"], "writes the float model: leave out --weight_bits"),
    ],
)
def test_wrong_options_of_onnx_are_one_line(
    digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    pytest.importorskip("onnxscript")
    assert message in failure(capsys, "export", "--ckpt_path", str(digits_run), "--output", "made", *options)
    assert not Path("made").exists()


def test_without_data_there_is_nothing_to_observe_on(
    digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", "null", "--model.input_shape", "[1,8,8]", "--model.num_classes", "10"]
    line = failure(capsys, "export", "--ckpt_path", str(digits_run), *options)
    assert "has no train_dataloader to take samples from: name the data with --data" in line


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    text = capsys.readouterr().out
    assert "bit-exact in TFLite Micro" in text
    assert "--format" in text


def test_interpreters_keep_their_reports_to_themselves(digits_run: Path, workplace: Path, capfd: Any) -> None:
    pytest.importorskip("tflite_micro")
    assert exported(digits_run, "--output", "a.tflite") == 0
    capfd.readouterr()
    interpreters.smallest_arena(Path("a.tflite").read_bytes())
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def aware_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with quantisation-aware training: ternary weights, but 8 bits in the head."""
    callback = [
        "--trainer.callbacks+=QuantizationAwareTraining",
        "--trainer.callbacks.weight_bits=2",
        '--trainer.callbacks.per_layer={"layers.4": 8}',
    ]
    options = ["--model", "CNN", "--model.channels", "4", "--data.size", "8"]
    return trained(tmp_path_factory.mktemp("runs"), *options, *callback)


def test_what_was_learned_in_training_is_used(
    aware_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Digits) -> None:
        raise AssertionError("the training set was asked for")

    monkeypatch.setattr(Digits, "train_dataloader", never)
    assert exported(aware_run, "--output", "net.tflite") == 0
    card = manifest(Path("net.json"))
    assert card["quantization"] == {
        "ranges": "learned in quantisation-aware training",
        "weight_bits": 2,
        "bits_per_layer": {"layers.4": 8},
        "activation_bits": 8,
    }
    # the input's range in the checkpoint, on a grid of 255 steps
    ranges = find_qat_state(load_checkpoint(aware_run / "checkpoints" / "last.ckpt"))["ranges"]
    scales = {round((max(high, 0) - min(low, 0)) / 255, 6) for low, high in np.reshape([*ranges.values()], (-1, 2))}
    for side in ("input", "output"):
        assert round(card["files"]["tflite"][side]["scale"], 6) in scales
    # naming the same widths again is no contradiction
    assert exported(aware_run, "--output", "b", "--weight_bits", "2", "--bits_per_layer", '{"layers.4": 8}') == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight_bits", "8"], "the run was trained for weights 2 bits, layers.4: 8, activations 8 bits: leave out"),
        (["--bits_per_layer", '{"layers.4": 4}'], "the run was trained for weights 2 bits"),
        (["--observer", "mse"], "the run learned its ranges while it was trained: leave out --observer"),
        (["--calibration_samples", "10"], "leave out --calibration_samples"),
    ],
)
def test_what_was_learned_is_not_overridden(
    aware_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    for verb in ("export", "quantize"):
        assert message in failure(capsys, verb, "--ckpt_path", str(aware_run), *options)
