"""The import of Keras: which backend, when, and what is said where it is not there; most in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcubench.errors import UserError
from mcubench.parity import load_keras
from mcubench.parity.backend import check_backend, quiet
from tests import forked

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")

# Finds no package of those named in HIDDEN, as if they were not installed.
HIDING = """
import os, sys


class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in os.environ["HIDDEN"].split()
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
MODEL = ["--model", "CNN", "--input_shape", "1,28,28", "--model.num_classes", "10"]
INSTALL = "pip install 'mcubench[keras]'"


def run(
    folder: Path, *words: str, code: int = 0, cold: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A process in a folder, without this process's choice of a backend; a cold one has nothing imported yet."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KERAS_", "TF_"))}
    environment = {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder), **environment}
    found = forked.run(words, cwd=folder, env=environment, timeout=300, cold=cold)
    assert found.returncode == code, found.stdout + found.stderr
    return found


def error_of(folder: Path, statements: str, **environment: str) -> str:
    """What `UserError` statements raise."""
    code = f"""
from mcubench.errors import UserError
try:
    {"; ".join(statements.split(chr(10)))}
except UserError as error:
    print(error)
else:
    raise SystemExit("no UserError")
"""
    return run(folder, "-c", code, **environment).stdout


@pytest.fixture
def hiding(tmp_path: Path) -> Path:
    """A folder whose processes do not find the packages named in HIDDEN."""
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    return tmp_path


def test_an_unknown_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in (True, False):
        if loaded:
            load_keras()
        else:
            monkeypatch.delitem(sys.modules, "keras")
        with pytest.raises(UserError, match="no backend 'jax' to compare with; there are tensorflow and torch"):
            load_keras("jax")
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    with pytest.raises(UserError, match="no backend 'numpy'"):
        load_keras()


def test_a_backend_that_the_process_does_not_have() -> None:
    has = load_keras().backend.backend()
    other = {"tensorflow": "torch", "torch": "tensorflow"}[has]
    with pytest.raises(UserError, match=f"on the backend {has}.* set the environment variable KERAS_BACKEND={other}"):
        load_keras(other)
    assert load_keras(has) is load_keras(None) is sys.modules["keras"]


def on_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process had imported keras on jax."""
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(backend=SimpleNamespace(backend=lambda: "jax")))


def test_a_process_that_has_keras_on_a_backend_that_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    on_jax(monkeypatch)
    for asked in (None, "jax"):
        with pytest.raises(UserError) as caught:
            load_keras(asked)
        assert str(caught.value) == "keras runs on the backend jax here; parity is checked on tensorflow and torch"


def test_no_advice_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    on_jax(monkeypatch)
    with pytest.raises(UserError, match="KERAS_BACKEND=torch") as caught:
        load_keras("torch")
    assert "compare on jax" not in str(caught.value)


def test_a_package_without_a_spec_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcubench.parity.backend.importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    with pytest.raises(UserError) as caught:
        check_backend("torch")
    assert str(caught.value).endswith(INSTALL)


class TestQuiet:
    def test_what_libraries_write_is_kept_back(self, capfd: pytest.CaptureFixture[str]) -> None:
        with quiet():
            os.write(2, b"no GPU here\n")
        os.write(2, b"after\n")
        assert capfd.readouterr().err == "after\n"

    def test_it_is_shown_if_the_import_fails(self, capfd: pytest.CaptureFixture[str]) -> None:
        def fail() -> None:
            os.write(2, b"no AVX here\n")
            raise ImportError("no tensorflow")

        with pytest.raises(ImportError), quiet():
            fail()
        os.write(2, b"after\n")
        assert capfd.readouterr().err == "no AVX here\nafter\n"

    def test_it_leaves_no_file_open(self) -> None:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing itself must be closed
        with quiet():
            pass
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.slow
class TestProcesses:
    def test_the_default_is_tensorflow_after_torch_and_silent(self, tmp_path: Path) -> None:
        code = """
import os, sys
before = os.fstat(2)
from mcubench.parity import load_keras
assert load_keras().backend.backend() == "tensorflow"
order = list(sys.modules)
assert order.index("torch") < order.index("tensorflow")
assert os.path.samestat(before, os.fstat(2))
print("still here", file=sys.stderr)
"""
        assert run(tmp_path, "-c", code, cold=True).stderr == "still here\n"

    @pytest.mark.parametrize(
        ("environment", "argument"), [("torch", None), ("tensorflow", "torch")], ids=["environment", "argument first"]
    )
    def test_torch_by(self, tmp_path: Path, environment: str, argument: str | None) -> None:
        code = f"""
import os, sys
from mcubench.parity import load_keras
assert load_keras({argument!r}).backend.backend() == "torch"
assert load_keras({argument!r}) is sys.modules["keras"]
assert "tensorflow" not in sys.modules
"""
        run(tmp_path, "-c", code, KERAS_BACKEND=environment)

    def test_a_process_that_has_keras_on_another_backend(self, tmp_path: Path) -> None:
        statements = "import keras\nfrom mcubench.parity import load_keras\n"
        said = error_of(tmp_path, f"{statements}load_keras('tensorflow')", KERAS_BACKEND="torch")
        assert "has imported keras on the backend torch" in said
        assert "KERAS_BACKEND=tensorflow before keras is imported" in said

    @pytest.mark.parametrize(("hidden", "missing"), [("keras", "keras"), ("tensorflow", "tensorflow")])
    def test_what_is_not_installed(self, hiding: Path, hidden: str, missing: str) -> None:
        said = error_of(hiding, "from mcubench.parity import load_keras\nload_keras()", HIDDEN=hidden)
        assert said == f"parity needs {missing}, which is not installed: {INSTALL}\n"

    def test_keras_on_torch_needs_no_tensorflow(self, hiding: Path) -> None:
        words = ["-m", "mcubench", "parity", *MODEL, "--backend", "torch", "--save", "m.keras", "--samples", "3"]
        assert "CNN agrees with Keras (torch)" in run(hiding, *words, HIDDEN="tensorflow").stdout
        assert (hiding / "m.keras").exists()

    def test_an_import_that_fails_is_not_silent(self, tmp_path: Path) -> None:
        (tmp_path / "keras.py").write_text(
            "import os\nos.write(2, b'GLIBC is too old\\n')\nraise ImportError('broken')"
        )
        code = "from mcubench.parity import load_keras; load_keras('torch')"
        said = run(tmp_path, "-c", code, code=1).stderr
        assert said.startswith("GLIBC is too old\n")
        assert said.endswith("ImportError: broken\n")

    def test_nothing_else_imports_keras(self, tmp_path: Path) -> None:
        code = f"""
import sys
import mcubench
dir(mcubench), mcubench.parity, mcubench.testing, mcubench.callbacks
from mcubench.cli.main import main
main(["--help"])
main(["profile", *{MODEL}])
main(["fit", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"])
try:
    main(["parity", "--help"])
except SystemExit:
    pass
assert main(["parity", *{MODEL}, "--rtol", "0"]) == 2
assert not {{"keras", "tensorflow"}} & set(sys.modules)
"""
        run(tmp_path, "-c", code, cold=True)

    def test_without_keras_all_else_works(self, hiding: Path) -> None:
        code = f"""
import importlib, pkgutil, sys
import mcubench
from mcubench.cli.main import main
for module in pkgutil.walk_packages(mcubench.__path__, "mcubench."):
    if module.name not in ("mcubench.__main__", "mcubench.parity.keras_layers"):
        importlib.import_module(module.name)
assert main(["profile", *{MODEL}]) == 0
assert main(["fit", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]) == 0
print("before parity", file=sys.stderr)
raise SystemExit(main(["parity", *{MODEL}]))
"""
        said = run(hiding, "-c", code, code=2, HIDDEN="keras tensorflow").stderr
        expected = f"mcubench: error: parity needs keras, which is not installed: {INSTALL}\n"
        assert said.partition("before parity\n")[2] == expected

    def test_a_backend_from_a_configuration(self, hiding: Path) -> None:
        (hiding / "c.yaml").write_text("backend: torch\nsamples: 2\n")
        words = ["-m", "mcubench", "parity", "--config", "c.yaml", *MODEL]
        assert "Keras (torch), 2 samples" in run(hiding, *words, HIDDEN="tensorflow").stdout

    def test_axes_as_the_users_keras_json_has_them_change_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "keras.json").write_text('{"image_data_format": "channels_first", "floatx": "float16"}')
        self.compare(tmp_path, KERAS_HOME=str(tmp_path / "home"))

    def test_precision_that_the_user_has_set_changes_nothing(self, tmp_path: Path) -> None:
        settings = ("set_floatx('float16')", "set_floatx('bfloat16')", "set_dtype_policy('mixed_bfloat16')")
        self.compare(tmp_path, *settings, KERAS_BACKEND="torch")

    def compare(self, folder: Path, *settings: str, **environment: str) -> None:
        code = """
import torch
from torch import nn
from mcubench.parity import load_keras
from mcubench.testing import assert_parity

class TwoDimensions(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2),
            nn.ConvTranspose2d(8, 4, 2, 2), nn.PReLU(4), nn.MaxPool2d(2, 1, 1), nn.Upsample(scale_factor=2),
            nn.GroupNorm(2, 4), nn.Flatten(), nn.LazyLinear(5), nn.Softmax(1),
        )

class OneDimension(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv1d(3, 8, 5, 2, padding=2), nn.MaxPool1d(2)
        self.token, self.norm = nn.Parameter(torch.randn(8)), nn.LayerNorm(12)
        self.gru, self.lstm = nn.GRU(8, 6, batch_first=True, bidirectional=True), nn.LSTM(12, 5)

    def forward(self, x):
        x = (self.pool(self.conv(x)).transpose(1, 2) + self.token).abs()
        return self.lstm(self.norm(self.gru(x)[0]).movedim(1, 0))[0][-1]

def compare():
    torch.manual_seed(0)
    for net, shape in ((TwoDimensions(), (3, 12, 10)), (OneDimension(), (3, 24))):
        net(torch.randn(9, *shape))
        assert_parity(net, torch.randn(4, *shape))

keras = load_keras()
"""
        for setting in settings:
            code += f"keras.config.{setting}; compare()\n"
        code += "" if settings else "compare()\n"
        run(folder, "-c", code, **environment)
