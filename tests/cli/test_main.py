"""The entry point: what it answers without imports, and what it says when the user errs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mcubench
from mcubench import datamodules, models
from mcubench.cli.help import OVERVIEW
from mcubench.cli.main import main
from mcubench.cli.options import names
from mcubench.errors import did_you_mean

HEAVY = ("torch", "lightning", "tensorflow", "keras", "numpy", "scipy", "sklearn", "pandas", "matplotlib")

CONFIGURATIONS = {
    "typo.yaml": "trainer:\n  max_epocs: 3\n",
    "section.yaml": "modle:\n  class_path: CNN\n",
    "option.yaml": "model:\n  class_path: CNN\n  init_args:\n    chanels: 3\n",
    "broken.yaml": "model: [\n",
    "list.yaml": "- model\n",
}


def run(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, timeout=120, check=False)


def failure(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line that a failing command prints, after checking that it is one and that the exit code is 2."""
    assert main(args) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mcubench: error:")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    "statement", ["import mcubench; dir(mcubench); mcubench.UserError", "from mcubench.cli.main import main"]
)
def test_imports_are_light(statement: str) -> None:
    loaded = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"
    assert run("-c", f"{statement}; {loaded}").stdout.strip() == "[]"


@pytest.mark.parametrize("args", [["--help"], ["-h"], [], ["--version"], ["compare", "--help"]])
def test_static_answers_import_nothing_heavy(args: list[str]) -> None:
    report = run("-X", "importtime", "-m", "mcubench", *args)
    assert report.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in report.stderr.splitlines()}
    assert not imported & set(HEAVY)


@pytest.mark.parametrize(("argv", "frozen"), [("", True), ("['compare', 'nowhere']", False)])
def test_only_a_process_of_ours_spares_its_imports_the_garbage_collector(argv: str, frozen: bool) -> None:
    """By the collector's own count of frozen objects: those of a notebook that calls main are not ours to freeze."""
    words = "sys.argv = ['mcubench', 'compare', 'nowhere']"
    state = "print(gc.get_freeze_count() > 0, gc.isenabled())"
    report = run("-c", f"import gc, sys; from mcubench.cli.main import main; {words}; main({argv}); {state}")
    assert report.stdout.split() == [str(frozen), "True"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mcubench {mcubench.__version__}\n"


def test_public_names_are_there() -> None:
    for name in mcubench.__all__:
        assert getattr(mcubench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'modles'"):
        _ = mcubench.modles  # type: ignore[attr-defined]


def test_short_names_are_those_of_the_packages() -> None:
    assert set(names.MODELS) == set(models.__all__) - {"Classifier"}
    public = {name: getattr(datamodules, name) for name in datamodules.__all__}
    base = datamodules.TensorDataModule
    assert set(names.DATA) == {
        name for name, each in public.items() if isinstance(each, type) and issubclass(each, base) and each is not base
    }


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("fitt", ["no verb 'fitt'", "Did you mean 'fit'", "predict"]),
        ("--model CNN fit", ["option before the verb '--model'"]),
        ("fit --model CN", ["--model CN", "Did you mean 'CNN'", "DSCNN", "my_file.MyClass"]),
        ("fit --data Mnist", ["--data Mnist", "Did you mean 'MNIST'"]),
        ("fit --model=CN", ["Did you mean 'CNN'"]),
        ("fit --model tests.foreign.MyNett", ["no 'MyNett'", "Did you mean 'MyNet'"]),
        ("fit --model tests.foreing.MyNet", ["no module 'tests.foreing'"]),
        ("fit --model tests.foreign.MyData", ["MyData is not a LightningModule"]),
        ("fit --data tests.foreign.MyNet", ["MyNet is not a LightningDataModule"]),
        ("fit --dta MNIST", ["no option --dta", "Did you mean '--data'"]),
        ("fit --trainer.max_epocs 3", ["no option --trainer.max_epocs", "Did you mean '--trainer.max_epochs'"]),
        ("fit --trainer.max_epochs three", ["--trainer.max_epochs: expected int or null, got 'three'"]),
        ("fit --model.hiden [3]", ["MLP has no option 'hiden'", "Did you mean 'hidden'", "learning_rate"]),
        ("fit --model CNN --model.widht 3", ["CNN has no option 'widht'", "channels"]),
        ("fit --data.batchsize 3", ["Digits has no option 'batchsize'", "Did you mean 'batch_size'"]),
        ("fit --model tests.foreign.MyNet --model.widht 3", ["MyNet has no option 'widht'", "Did you mean 'width'"]),
        (
            "fit --model Sklearn --model.estimator a.B --model.arguments {max_depth:4}",
            ["--model.arguments: expected dict[str, Any] or null, got '{max_depth:4}'", "'{max_depth: 4}'"],
        ),
        ("profile --bits_per_layer {layers.4:4}", ["--bits_per_layer: expected dict[str, int]", "'{layers.4: 4}'"]),
        ("fit --model tests.foreign.MyParts", ["MyParts needs --model.part and --model.lr", "tests.foreign.MyParts"]),
        ("fit --model tests.foreign.MyParts --model.part torch.nn.Linear", ["Linear needs --model.part.in_features"]),
        (
            "fit --model tests.foreign.MyParts --model.part torch.nn.Linr",
            ["--model.part torch.nn.Linr", "no attribute"],
        ),
        (
            "fit --trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor x --trainer.callbacks.patience soon",
            ["--trainer.callbacks.patience: expected int, got 'soon'"],
        ),
        ("fit --trainer.callbacks+=EarlyStopping", ["EarlyStopping needs --trainer.callbacks.monitor"]),
        ("fit --model.learning_rate fast", ["--model.learning_rate: expected float, got 'fast'"]),
        ("fit --model.optimizer adm", ["--model.optimizer: expected adam or adamw or sgd, got 'adm'"]),
        ("fit --model.learning_rate -1", ["learning_rate must be positive and finite, got -1.0"]),
        (
            "fit --trainer.accumulate_grad_batches=-1",
            ["--trainer.accumulate_grad_batches must be", "1 or more; got -1"],
        ),
        ("fit --trainer.accumulate_grad_batches 0", ["--trainer.accumulate_grad_batches must be", "1 or more; got 0"]),
        ("fit --trainer.check_val_every_n_epoch 0", ["--trainer.check_val_every_n_epoch must be", "got 0"]),
        ("fit --trainer.val_check_interval 0", ["--trainer.val_check_interval must be", "got 0"]),
        ("fit --trainer.devices=-3", ["--trainer.devices must be", "got -3"]),
        ("fit --trainer.devices=[0,0]", ["--trainer.devices must be", "[0, 0]"]),
        ("fit --trainer.gradient_clip_val=.nan", ["--trainer.gradient_clip_val must be", "got nan"]),
        ("fit --seed_everything=-1", ["--seed_everything must be 0 to 4294967295, got -1"]),
        ("fit --seed_everything=4294967296", ["--seed_everything must be 0 to 4294967295, got 4294967296"]),
        ("fit --model DecisionTree --trainer.callbacks+=Mixup", ["Mixup is for networks", "leave it out"]),
        ("fit --trainer.callbacks+=ImageAugmentation", ["ImageAugmentation would change nothing", "shift, rotate"]),
        ("fit --model.learning_rate=.inf", ["learning_rate must be positive and finite, got inf"]),
        ("fit --model.num_classes 3", ["num_classes of MLP must be that of Digits, 10, or more; got 3"]),
        ("fit --model.input_shape [3]", ["input_shape of MLP must be that of Digits, (1, 28, 28); got (3,)"]),
        ("fit --model DecisionTree --model.num_classes 3", ["num_classes of DecisionTree must be that of Digits"]),
        ("fit --model CNN1d", ["CNN1d with 3 blocks needs signals", "use CNN or DSCNN"]),
        ("fit --data.val_fraction 2", ["val_fraction must be between 0 and 1"]),
        ("fit --data.folds 3 --data.fold 3", ["fold must be 0 .. 2, got 3"]),
        ("fit --data.split subject", ["split 'subject' needs data with subjects"]),
        (
            "fit --data tests.foreign.MyData",
            ["input_shape is not known", "give the data module", "--model.input_shape"],
        ),
        ("fit --config nowhere.yaml", ["--config", "nowhere.yaml"]),
        ("fit --config typo.yaml", ["no option --trainer.max_epocs", "Did you mean '--trainer.max_epochs'"]),
        ("fit --config section.yaml", ["no option --modle.class_path", "Did you mean '--model'"]),
        ("fit --config option.yaml", ["CNN has no option 'chanels'", "Did you mean 'channels'"]),
        ("fit --config broken.yaml", ["--config broken.yaml is not YAML that can be used: line 2, column 1"]),
        ("fit --config list.yaml", ["list.yaml is not a YAML file of options"]),
        ("fit --ckpt_path last", ["--ckpt_path last", "no run under"]),
        ("test", ["test needs a trained model", "--ckpt_path best"]),
        ("predict --ckpt_path nowhere.ckpt", ["there is no file nowhere.ckpt"]),
        ("fit --trainer.accelerator tpu", ["torch_xla"]),
        ("fit --checkpoint.every_n_train_steps 0", ["every_n_train_steps must be at least 1"]),
    ],
)
def test_one_line_says_what_to_do(
    workplace: Path, capsys: pytest.CaptureFixture[str], args: str, parts: list[str]
) -> None:
    for name, text in CONFIGURATIONS.items():
        (workplace / name).write_text(text)
    line = failure(capsys, *args.split())
    for part in parts:
        assert part in line
    assert not list(workplace.rglob("*.ckpt"))


def test_missing_data(workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    line = failure(capsys, "fit", "--data", "MNIST", "--data.root", "here")
    assert "looked for train-images-idx3-ubyte, packed as .gz or not, in here/MNIST/raw" in line
    assert not [path for path in workplace.rglob("*") if path.is_file()]


def test_a_checkpoint_that_is_none(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "x.ckpt").write_bytes(b"no checkpoint")
    assert "x.ckpt" in failure(capsys, "fit", "--ckpt_path", "x.ckpt")


def test_debug_shows_the_traceback(workplace: Path) -> None:
    with pytest.raises(mcubench.UserError, match="there is no such class"):
        main(["fit", "--model", "CN", "--debug"])


def test_did_you_mean() -> None:
    assert did_you_mean("cnn1D", ["CNN", "CNN1d"]) == " Did you mean 'CNN1d'?"
    assert did_you_mean("transformer", ["CNN", "CNN1d"]) == ""


@pytest.mark.parametrize(
    ("args", "data", "model"),
    [
        ("", datamodules.Digits, models.MLP),
        ("--data MNIST", datamodules.MNIST, models.MLP),
        ("--data HAPT --model CNN1d", datamodules.HAPT, models.CNN1d),
        ("--model=DSCNN", datamodules.Digits, models.DSCNN),
        ("--config partial.yaml", datamodules.HAPT, models.MLP),
    ],
)
def test_classes_have_their_own_defaults(
    workplace: Path, capsys: pytest.CaptureFixture[str], args: str, data: type, model: type
) -> None:
    (workplace / "partial.yaml").write_text("data:\n  class_path: mcubench.datamodules.HAPT\n")
    with pytest.raises(SystemExit):
        main(["fit", *args.split(), "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    for key, expected in (("data", data), ("model", model)):
        assert config[key]["class_path"].endswith(f".{expected.__name__}")
        for name, parameter in inspect.signature(expected).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD and name not in ("input_shape", "num_classes"):
                given = config[key]["init_args"][name]
                assert given == (list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default)


def test_the_overview_fits_a_terminal() -> None:
    """80 columns, and one to spare."""
    assert [line for line in OVERVIEW.splitlines() if len(line) > 79] == []
