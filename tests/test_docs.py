"""The texts against the code: every command parses, every field is documented, every example runs."""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch

import mcubench
from benchmarks import int8_table
from benchmarks.hapt_costs import cost_tables
from mcubench.cli.help import OVERVIEW, VERBS, describe_file
from mcubench.cli.main import OF_FILES, main
from mcubench.cost.units import bytes_text
from mcubench.errors import UserError
from mcubench.features import feature_cost
from mcubench.readers import is_model_file
from mcubench.results.cross_validation import CrossValidation, FoldScores
from mcubench.results.result import Result
from mcubench.results.several_seeds import SeedScores, SeveralSeeds
from mcubench.suites import SUITES, find_suite
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text("utf-8")
COMMAND = re.compile(r"^ *python -m mcubench (.*?)(?:\s{2,}.*|\s+#.*)?$", re.MULTILINE)


def commands() -> list[str]:
    pages = ("data", "result", "parity", "hapt", "numpy_mlp", "export", "performance", "recipes")
    texts = [README, OVERVIEW, *((REPOSITORY / "docs" / f"{name}.md").read_text("utf-8") for name in pages)]
    found = {match for text in texts for match in COMMAND.findall(text)}
    # Two have no configuration to print: tests/cli/test_compare.py and test_search.py run their own.
    configured = VERBS.keys() - {"compare", "search"}
    of_models = {command for command in found if command not in commands_about_files()}
    return sorted(command for command in of_models if command.split()[0] in configured and "my_file" not in command)


def commands_about_files() -> list[str]:
    """Those whose second word names a file of a model."""
    texts = [README, OVERVIEW, *map(describe_file, OF_FILES), (REPOSITORY / "docs" / "files.md").read_text("utf-8")]
    found = {match for text in texts for match in COMMAND.findall(text)}
    return sorted(command for command in found if is_model_file([*command.split(), ""][1]))


@pytest.mark.parametrize("command", commands_about_files())
def test_documented_commands_about_files_parse(command: str, workplace: Path) -> None:
    """They get as far as to the file, which is not there."""
    verb, *args = shlex.split(command)
    run = getattr(importlib.import_module(f"mcubench.cli.files.{verb}"), f"run_{verb}")
    with pytest.raises(UserError, match=r"net\.\w+ can't be read: No such file"):
        run(args)


def test_commands_were_found() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", commands())
def test_documented_commands_parse(command: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [str(REPOSITORY / arg) if arg.startswith("examples/") else arg for arg in shlex.split(command)]
    if "--ckpt_path" in args:  # needs a run; what it does then is tested elsewhere
        args = [arg for arg in args if arg not in ("--ckpt_path", "last", "best")]
    if "--help" in args:
        return
    args = [str(REPOSITORY / arg) if arg.startswith("examples/") else arg for arg in args]
    with pytest.raises(SystemExit) as caught:
        main([*args, "--print_config"])
    assert caught.value.code == 0
    assert re.search(r"class_path: mcubench\.(models|baselines)\.", capsys.readouterr().out)


def test_examples_of_configuration_parse(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (REPOSITORY / "examples").glob("*.yaml"):
        with pytest.raises(SystemExit) as caught:
            main(["fit", "--config", str(path), "--print_config"])
        assert caught.value.code == 0


def test_every_field_of_the_results_is_documented() -> None:
    text = (REPOSITORY / "docs" / "result.md").read_text("utf-8")
    fold = FoldScores(0, "", None, None, None, None, None, None, 0, 0.0, None)
    seed = SeedScores(0, "", None, None, None, None, 0, None, 0.0)
    written = {
        "result.json": {field.name for field in dataclasses.fields(Result)},
        "folds.json": set(CrossValidation("M", "D", None, 0, [], [fold], []).as_dict()),
        "seeds.json": set(SeveralSeeds("M", "D", None, [], [seed], []).as_dict()),
    }
    for name, fields in written.items():
        (section,) = re.findall(rf"^## {re.escape(name)}, .*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == fields


@pytest.mark.parametrize(
    "name",
    [
        "mcubench",
        "mcubench.models",
        "mcubench.baselines",
        "mcubench.datamodules",
        "mcubench.features",
        "mcubench.callbacks",
        "mcubench.graph",
        "mcubench.cost",
        "mcubench.parity",
        "mcubench.seeds",
        "mcubench.testing",
    ],
)
def test_public_names_are_declared_and_documented(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        assert public == "__version__" or getattr(module, public).__doc__, f"{name}.{public} has no docstring"


def test_links_lead_somewhere() -> None:
    for document in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_subclass_of_the_readme() -> None:
    (block,) = (
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "models.Classifier" in block
    )
    names = {"mcubench": mcubench, "nn": torch.nn, "math": math}
    exec(block, names)
    model = names["MyNet"]((1, 8, 8), 10, width=5)  # type: ignore[operator]
    assert model(model.example_input_array).shape == (1, 10)


def test_the_table_of_the_readme_is_the_one_that_is_printed(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"<!-- table -->\n```text\n(.*?)```", README, re.DOTALL)
    assert main(["fit", "--trainer.enable_progress_bar", "false"]) == 0
    printed = capsys.readouterr().out

    def words(text: str) -> list[str]:  # numbers may differ a little between machines
        return re.sub(r"[\d.,+-]+", "0", text[text.index("┏") :]).split()

    assert words(block) == words(printed)
    (accuracy,) = re.findall(r"accuracy, float │ +([\d.]+) % │ +([\d.]+) % │ +([\d.]+) %", block)
    (now,) = re.findall(r"accuracy, float │ +([\d.]+) % │ +([\d.]+) % │ +([\d.]+) %", printed)
    assert [float(number) for number in accuracy] == [pytest.approx(float(number), abs=2) for number in now]


def test_the_costs_of_the_readme_are_those_that_are_printed(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"<!-- profile -->\n```text\n(.*?)```", README, re.DOTALL)
    (command,) = re.findall(r"`python -m mcubench (profile .*?)` prints, without training", README)
    assert main(command.split()) == 0
    assert block.split() == capsys.readouterr().out.split()


def test_the_counts_of_other_tools_are_those_that_are_printed(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (REPOSITORY / "docs" / "conventions.md").read_text("utf-8")
    (block,) = re.findall(r"<!-- counts -->\n```text\n(.*?)```", text, re.DOTALL)
    (command,) = re.findall(r"`python -m mcubench (profile .*?)` it prints", text)
    assert main(command.split()) == 0
    assert block in capsys.readouterr().out


def test_the_comparison_of_the_readme_is_the_one_that_is_printed(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"<!-- parity -->\n```text\n(.*?)```", README, re.DOTALL)
    (command,) = re.findall(r"`python -m mcubench (parity .*?)` builds the same network", README)
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    assert main([*command.split(), "--backend", backend]) == 0

    def words(text: str) -> list[str]:  # rounding differs between machines
        return re.sub(r"\d(\.\d)?e[+-]\d\d", "0", text).replace(backend, "tensorflow").split()

    assert words(block) == words(capsys.readouterr().out)


def test_the_table_of_int8_operations_is_that_of_the_rules() -> None:
    text = (REPOSITORY / "docs" / "quantization.md").read_text("utf-8")
    (block,) = re.findall(r"<!-- int8 operations -->\n(.*?)<!-- end -->", text, re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in block.splitlines()[2:] if line]
    assert rows == [[cell.strip() for cell in row] for row in int8_table.rows()], "run python -m benchmarks.int8_table"


@pytest.mark.parametrize("table", ["traps", "training", "defaults", "versions"])
def test_tables_of_the_parity_page_are_there(table: str) -> None:
    text = (REPOSITORY / "docs" / "parity.md").read_text("utf-8")
    (block,) = re.findall(rf"<!-- {table} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert block.strip(), "run python -m benchmarks.parity_traps --write docs/parity.md"


@pytest.mark.parametrize("table", ["verdict", "agreement", "conventions", "copies", "near copies", "models", "gap"])
def test_tables_of_the_hapt_page_are_there(table: str) -> None:
    text = (REPOSITORY / "docs" / "hapt.md").read_text("utf-8")
    (block,) = re.findall(rf"<!-- {table} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert block.strip(), "run the two commands at the end of docs/hapt.md"


@pytest.mark.parametrize("table", ["exercise3", "mnist_published", "vectors"])
def test_tables_of_the_results_page_are_there(table: str) -> None:
    text = (REPOSITORY / "docs" / "results.md").read_text("utf-8")
    (block,) = re.findall(rf"<!-- {table} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert block.strip(), "run python -m benchmarks.results --write docs/results.md"
    if table in SUITES:  # no row more or less than the suite has today
        rows = [line.split(" | ")[1] for line in block.splitlines()[2:] if line.startswith("|")]
        assert sorted(rows) == sorted(row for rows in find_suite(table).tables.values() for row in rows)


def test_table_of_the_performance_page_is_there() -> None:
    text = (REPOSITORY / "docs" / "performance.md").read_text("utf-8")
    (block,) = re.findall(r"<!-- mnist_99 -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert block.strip(), "run python -m benchmarks.mnist_99 --write docs/performance.md"
    (mean,) = re.findall(r"^\| test accuracy \[%\] \| ([\d.]+) ± ", block, re.MULTILINE)
    assert float(mean) >= 99, "the name of the recipe"


def test_the_prices_on_the_hapt_page_are_those_of_today() -> None:
    text = (REPOSITORY / "docs" / "hapt.md").read_text("utf-8")
    for name, table in cost_tables().items():
        assert f"<!-- {name} -->\n{table}\n<!-- end -->" in text, name


def test_the_examples_of_the_hapt_page_run() -> None:
    text = (REPOSITORY / "docs" / "hapt.md").read_text("utf-8")
    batch_and_stream, in_c = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(batch_and_stream, {})  # it asserts that both forms agree
    exec(in_c, names := {})
    assert "int motion_push(" in names["header"]


@pytest.mark.parametrize("table", ["feature c", "feature c classes", "feature c statistics"])
def test_tables_of_features_in_c_are_there(table: str) -> None:
    text = (REPOSITORY / "docs" / "hapt.md").read_text("utf-8")
    (block,) = re.findall(rf"<!-- {table} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert block.strip(), "run python -m benchmarks.feature_c --write docs/hapt.md"


def test_own_module_example(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(REPOSITORY / "examples" / "own_module.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "resumed weights equal those of one run: True" in printed
    assert f"{64 * 32 + 32 * 10:,} MACs" in printed
    assert "refused: OwnNet is over budget" in printed
    assert "1 B more than the 2,871 B allowed; the most in net.1 (Dense + relu)" in printed


def test_own_classifier_example(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "examples.own_classifier.GatedNet", "--model.width", "24", "--trainer.max_epochs", "3"]
    assert main(["fit", *options]) == 0
    # 784 * 48 + 48 for value and gate, 24 * 10 + 10 for the output
    assert f"{784 * 48 + 48 + 24 * 10 + 10:,}" in capsys.readouterr().out


def test_the_price_of_all_features_in_the_readme() -> None:
    cost = feature_cost()
    macs, other, ram = cost.operations.macs, cost.operations.other, bytes_text(cost.memory.total)
    stated = f"{macs:,} multiply-accumulates, {other:,} other operations and {ram} of RAM a window"
    assert stated in " ".join(README.split())
