"""``export --format c`` and ``emulate`` as a user types them.

The reference is the integer graph, for bytes, and the run's own model on the test set, for what is printed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from mcubench.cli.main import main
from mcubench.cli.verbs import emulate
from mcubench.results.result import read_result
from mcubench.target import packages
from tests.cli.test_main import failure
from tests.codegen.host import WARNINGS, compiler
from tests.trained import digits_run

__all__ = ["digits_run"]


def test_a_folder_that_builds_and_tests_itself(digits_run: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    words = ["export", "--ckpt_path", str(digits_run), "--format", "c", "--output", str(made)]
    assert main(words) == 0
    folder = made / "model_c"
    assert {each.name for each in folder.iterdir()} == {"model.h", "model.c", "main.c", "CMakeLists.txt", "README.md"}
    card = json.loads((made / "model.json").read_text())["files"]["c"]
    assert (card["folder"], card["name"], card["header"], card["dialect"]) == ("model_c", "model.c", "model.h", "c99")
    assert f"#define MODEL_ARENA_BYTES {card['arena']}\n" in (folder / "model.h").read_text()
    assert "model_encode_u8" in (folder / "model.h").read_text(), "the digits are bytes of 0 to 16"
    subprocess.run([*compiler(), *WARNINGS, "main.c", "-o", "selftest"], cwd=folder, check=True)
    assert subprocess.run([str(folder / "selftest")], check=False).returncode == 0
    source = (folder / "model.c").read_text()
    before, inputs, after = source.partition("test_outputs[3 * 10] = {\n    ")
    first, comma, rest = after.partition(",")
    (folder / "model.c").write_text(f"{before}{inputs}{(int(first) + 1) % 100}{comma}{rest}")
    subprocess.run([*compiler(), *WARNINGS, "main.c", "-o", "selftest"], cwd=folder, check=True)
    assert subprocess.run([str(folder / "selftest")], check=False).returncode == 1, "the first sample differs"


@pytest.mark.slow
def test_cmake_builds_the_folder(digits_run: Path, tmp_path: Path) -> None:
    if not shutil.which("cmake") or not shutil.which("cc"):
        pytest.skip("cmake or a compiler for it is not installed")
    assert main(["export", "--ckpt_path", str(digits_run), "--format", "c", "--output", str(tmp_path)]) == 0
    folder = tmp_path / "model_c"
    for words in (["cmake", "-B", "build"], ["cmake", "--build", "build"], ["ctest", "--test-dir", "build"]):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "100% tests passed" in done.stdout


def test_a_library_for_arduino(digits_run: Path, tmp_path: Path) -> None:
    words = ["export", "--ckpt_path", str(digits_run), "--format", "c", "--layout", "arduino", "--output"]
    assert main([*words, str(tmp_path)]) == 0
    folder = tmp_path / "model_c"
    names = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}
    assert names == {
        *("library.properties", "library.json", "README.md", "examples/selftest/selftest.ino"),
        *("src/model.h", "src/model.c"),
    }
    json.loads((folder / "library.json").read_text())
    assert "int model_selftest(void *arena);" in (folder / "src" / "model.h").read_text()


def emulated(run: Path, *options: str) -> int:
    return main(["emulate", "--ckpt_path", str(run), *options])


def test_a_run_on_a_device(digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    row = read_result(run)
    scored = run / row["checkpoint"]["path"]
    figures = tmp_path / "figures.json"
    assert emulated(scored, "--device", "stm32f446", "--samples", "all", "--json", str(figures)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    found = json.loads(figures.read_text())
    assert "360 samples: every byte as the integer graph computes it" in printed
    assert "STM32F446RE: fits" in printed
    assert (found["core"], found["device"], found["samples"], found["different_bytes"]) == (
        *("cortex-m4", "stm32f446", 360, 0),
    )
    assert found["macs"] == row["macs"]
    assert found["accuracy"] == pytest.approx(row["other_form"]["accuracy"]["test"], abs=0.02), "calibrated otherwise"
    assert sum(layer["instructions"] for layer in found["layers"]) == pytest.approx(found["instructions"], abs=1)
    low, high = found["cycles"]
    assert found["instructions"] - 1 <= low <= high
    assert found["seconds"] == [low / 180e6, high / 180e6]
    assert found["flash_bytes"] == found["code_bytes"] + found["constant_bytes"]
    assert found["constant_bytes"] <= 1.1 * row["flash_bytes"] + 64, "of a model this small, also what is there once"
    measured = read_result(run)["measured"]
    assert measured == {key: value for key, value in found.items() if key not in ("model", "data")}
    assert f"added to {run / 'result.json'}" in printed.replace("\n", "")


@pytest.mark.parametrize("source", ["options", "the run"])
def test_budgets_hold_for_what_was_measured(
    digits_run: Path, tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights fit into the budget, code and weights do not: flash that `profile` estimates has no code in it."""
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    row = read_result(run)
    limit = row["flash_bytes"] + 512
    options = ["--budget.flash", str(limit), "--budget.ram", "64 KiB"]
    if source == "the run":
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["budget"] = {**config["budget"], "flash": limit, "ram": "64 KiB"}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        options = []
    scored = run / row["checkpoint"]["path"]
    assert emulated(scored, "--samples", "1", *options) == 1
    printed = " ".join(capsys.readouterr().out.split())
    measured = read_result(run)["measured"]
    assert measured["limits"] == {"flash": limit, "ram": 65536}
    assert f"OVER by {measured['flash_bytes'] - limit:,} B, as measured" in printed
    assert "budget of RAM, 64.0 KiB: held, as measured" in printed
    larger = ["--budget.flash", str(measured["flash_bytes"])]
    assert emulated(scored, "--samples", "1", *larger) == 0, "an option wins over the run's"


def test_a_byte_that_differs_is_exit_code_1(
    digits_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = emulate.predict
    monkeypatch.setattr(emulate, "predict", lambda graph, codes: (right(graph, codes)[0] ^ 1,))
    assert emulated(digits_run, "--samples", "2") == 1
    assert "20 bytes DIFFER" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "stm32f999"], "stm32f999"),
        (["--core", "cortex-m5"], "there is no core 'cortex-m5'. Did you mean 'cortex-m7'? There are cortex-m0, "),
        (["--device", "stm32f446", "--core", "cortex-m0"], "STM32F446RE has a cortex-m4: leave out --core cortex-m0"),
        (["--samples", "none"], "--samples must be a number from 1 on, or all; got none"),
        (["--samples", "0"], "--samples must be a number from 1 on, or all; got 0"),
        (["--budget.flash", "much"], "much"),
        (["--dialect", "c89"], "--dialect must be one of c99"),
        (["--json", "."], "--json . is a folder; give a file"),
    ],
)
def test_mistakes_in_options(
    digits_run: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, "emulate", "--ckpt_path", str(digits_run), *options)


def test_options_of_other_formats_are_refused(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("export", "--ckpt_path", str(digits_run), "--format", "tflite")
    assert "--dialect is for --format c, asked for is tflite" in failure(capsys, *asked, "--dialect", "c99")
    assert "--layout is for --format c, asked for is tflite" in failure(capsys, *asked, "--layout", "arduino")


def test_a_missing_package_is_named_before_the_work(
    digits_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(packages.importlib, "import_module", absent)
    with pytest.raises(Exception, match=r"needs the package unicorn, .*: pip install 'mcubench\[target\]'"):
        packages.load("unicorn")


def test_compare_shows_what_was_measured(digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "runs" / "one"
    shutil.copytree(digits_run, run)
    assert emulated(run / read_result(run)["checkpoint"]["path"], "--samples", "3") == 0
    measured = read_result(run)["measured"]
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs"), "--csv", str(tmp_path / "all.csv")]) == 0
    header, row = (tmp_path / "all.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert int(cells["instructions_min"]) == measured["instructions"]
    assert int(cells["device_flash_bytes_max"]) == measured["flash_bytes"]
    assert f"{measured['instructions']:,}" in capsys.readouterr().out


def test_profile_shows_the_bound_where_one_was_emulated(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    scored = run / read_result(run)["checkpoint"]["path"]
    words = ["profile", "--ckpt_path", str(scored), "--device", "stm32f446", "stm32h743"]
    assert main(words) == 0
    assert "a bound at zero wait states" not in capsys.readouterr().out
    assert emulated(scored, "--samples", "3") == 0
    capsys.readouterr()
    assert main([*words, "--json", str(tmp_path / "costs.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    low, high = read_result(run)["measured"]["cycles"]
    devices = json.loads((tmp_path / "costs.json").read_text())["devices"]
    assert devices[0]["latency_seconds"] == [low / 180e6, high / 180e6]
    assert printed.count("at 180 MHz (emulated; a bound at zero wait states)") == 1
    assert "int8 cycles per MAC, MLPerf Tiny logs" in printed, "the other device has another core"
