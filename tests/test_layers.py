"""Who may import whom: the graph knows nobody, costs know the graph, and neither needs what trains or draws.

References are the sources themselves, read by `ast`, and `sys.modules` of a fresh process.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mcubench

PACKAGE = Path(mcubench.__file__).parent
FOREIGN = {"lightning", "pytorch_lightning", "keras", "tensorflow"}


def imported(source: str, package: str) -> Iterator[str]:
    """Full names that a module imports anywhere, also within functions and `if TYPE_CHECKING`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [*package.split(".")[: len(package.split(".")) - node.level + 1], base]))
            # ``from mcubench import cost`` imports mcubench.cost
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def modules(part: str) -> list[Path]:
    found = sorted((PACKAGE / part).rglob("*.py"))
    assert found, part
    return found


def imports_of(path: Path) -> set[str]:
    package = ".".join(path.parent.relative_to(PACKAGE.parent).parts)
    return set(imported(path.read_text("utf-8"), package))


def parts_of(path: Path) -> set[str]:
    """The sub-packages and modules of mcubench that a module imports from: graph, errors, ..."""
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("mcubench.")}


def each(*parts: str) -> list[object]:
    return [pytest.param(path, id=path.relative_to(PACKAGE).as_posix()) for part in parts for path in modules(part)]


def test_all_forms_of_imports_are_seen() -> None:
    source = """
import mcubench.graph.ops as ops, torch
from mcubench import cost
from mcubench.errors import UserError
from . import ir
from ..cost import macs
from ...other import x
import importlib
def late():
    from mcubench.cli.main import main
    importlib.import_module("lightning.pytorch")
"""
    assert set(imported(source, "mcubench.graph.passes")) == {
        *("mcubench.graph.ops", "torch", "mcubench.cost", "mcubench.errors.UserError", "mcubench.graph.passes.ir"),
        *("mcubench.graph.cost.macs", "mcubench.other.x", "importlib", "mcubench.cli.main.main", "lightning.pytorch"),
    }


@pytest.mark.parametrize("path", each("graph"))
def test_the_graph_imports_graph_errors_and_files(path: Path) -> None:
    assert parts_of(path) <= {"graph", "errors", "files"}


@pytest.mark.parametrize("path", each("cost"))
def test_costs_import_costs_the_graph_and_what_has_no_subject(path: Path) -> None:
    assert parts_of(path) <= {"cost", "graph", "errors", "files", "console"}


@pytest.mark.parametrize("path", each("quant"))
def test_quantisation_imports_itself_the_graph_and_of_costs_widths_and_plans(path: Path) -> None:
    """And for classical models, which have no graph, what their estimators compute."""
    assert parts_of(path) <= {"quant", "graph", "errors", "files", "cost"}
    costs = {name for name in imports_of(path) if name.startswith("mcubench.cost")}
    stages = ("mcubench.cost.estimators.",) if "classical" in path.parts else ()
    assert all(name.startswith(("mcubench.cost.size.", "mcubench.cost.memory.", *stages)) for name in costs)


@pytest.mark.parametrize("path", each("export"))
def test_exports_import_no_training(path: Path) -> None:
    assert parts_of(path).isdisjoint({"cli", "callbacks", "models", "baselines"})
    assert {name.partition(".")[0] for name in imports_of(path)}.isdisjoint({"lightning", "keras", "tensorflow"})


@pytest.mark.parametrize("path", each("readers"))
def test_readers_import_the_graph_and_no_training(path: Path) -> None:
    """And packages for files by name alone, where they are used: they are optional."""
    assert parts_of(path) <= {"readers", "graph", "quant", "cost", "errors", "files", "export", "parity"}
    others = {
        name for name in imports_of(path) if name.startswith(("mcubench.export", "mcubench.parity", "mcubench.cost"))
    }
    allowed = ("mcubench.export.backend.", "mcubench.parity.backend.", "mcubench.cost.size.")
    assert all(name.startswith(allowed) for name in others)
    assert {name.partition(".")[0] for name in imports_of(path)}.isdisjoint(FOREIGN | {"onnx", "sklearn", "rich"})


@pytest.mark.parametrize("path", each("codegen"))
def test_generated_code_knows_no_compiler_no_emulator_and_no_training(path: Path) -> None:
    features = {"features"} if path.parent.name == "features" else set()
    assert parts_of(path) <= {"codegen", "quant", "errors", "files"} | features
    assert {name.partition(".")[0] for name in imports_of(path)}.isdisjoint(FOREIGN | {"sklearn", "rich"})


@pytest.mark.parametrize("path", each("target"))
def test_cores_know_no_network(path: Path) -> None:
    assert parts_of(path) <= {"target", "codegen", "cost", "console", "errors", "files"}
    assert {name.partition(".")[0] for name in imports_of(path)}.isdisjoint(FOREIGN | {"sklearn", "torch"})


@pytest.mark.parametrize("path", each("features"))
def test_features_import_features_and_errors(path: Path) -> None:
    assert parts_of(path) <= {"features", "errors"}
    assert {name.partition(".")[0] for name in imports_of(path)}.isdisjoint(FOREIGN | {"torch", "sklearn"})


@pytest.mark.parametrize("path", each("graph", "cost", "quant"))
def test_none_imports_a_framework_beside_torch(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports_of(path)}.isdisjoint(FOREIGN)


@pytest.mark.parametrize(
    "path", each("baselines", "callbacks", "models", "datamodules", "results", "quant", "seeds", "training")
)
def test_nothing_imports_the_command_line(path: Path) -> None:
    assert "cli" not in parts_of(path)


def test_results_that_need_lightning_mend_torchvision_first() -> None:
    """The folder itself does not: those that compare runs need no torch."""
    for path in modules("results"):
        needs = any(name.startswith("lightning.") for name in imports_of(path))
        assert needs == ("mcubench._compat.mend_torchvision" in imports_of(path)), path


@pytest.mark.parametrize("path", each("results/comparison"))
def test_comparisons_import_no_framework(path: Path) -> None:
    assert parts_of(path) <= {"results", "console", "errors", "files", "reading"}
    assert {name.partition(".")[0] for name in imports_of(path)}.isdisjoint(FOREIGN | {"torch", "sklearn"})


def test_dask_is_known_in_two_places() -> None:
    dask = {"dask", "distributed"}
    found = {path.name for path in modules(".") if dask & {name.partition(".")[0] for name in imports_of(path)}}
    assert found == {"client.py", "worker.py"}
    assert loaded("import mcubench.cli.verbs.compare, mcubench.cli.cluster.worker").isdisjoint(dask | {"torch"})


@pytest.mark.parametrize("name", ["errors.py", "files.py"])
def test_the_ground_floor_imports_nothing_of_mcubench(name: str) -> None:
    assert parts_of(PACKAGE / name) == set()


def test_operations_import_only_each_other_and_the_ir() -> None:
    files = [path for path in modules("graph") if {"ir", "ops"} & {path.stem, path.parent.name}]
    assert len(files) >= 2
    for path in files:
        ours = {name for name in imports_of(path) if name.startswith("mcubench.")}
        assert all(name.startswith(("mcubench.graph.ir.", "mcubench.graph.ops.")) for name in ours), path


@pytest.mark.parametrize("path", each("graph/lowering", "graph/passes"))
def test_rules_know_no_passes_and_passes_no_rules(path: Path) -> None:
    other = "passes" if path.parent.name == "lowering" else "lowering"
    assert not any(name.startswith(f"mcubench.graph.{other}") for name in imports_of(path))


def loaded(code: str) -> set[str]:
    """Outermost names in `sys.modules` after some code ran in a fresh process."""
    code = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["mcubench.graph", "mcubench.cost", "mcubench.readers.onnx"])
def test_importing_them_loads_neither_framework_nor_plots(name: str) -> None:
    found = loaded(f"import {name}")
    assert "torch" in found  # so the question was put in the right way
    assert found.isdisjoint(FOREIGN | {"matplotlib", "sklearn", "jsonargparse", "onnx"})


def test_the_same_through_the_lazy_package() -> None:
    found = loaded("import mcubench; mcubench.cost.profile; mcubench.graph.trace; mcubench.testing.assert_macs")
    assert "torch" in found
    assert found.isdisjoint(FOREIGN | {"matplotlib"})


@pytest.mark.parametrize("name", ["mcubench.codegen", "mcubench.target"])
def test_code_and_cores_need_no_torch(name: str) -> None:
    assert loaded(f"import {name}").isdisjoint(FOREIGN | {"torch", "matplotlib", "sklearn", "unicorn", "rich"})


def test_counting_loads_nothing_more() -> None:
    code = (
        "import torch; from mcubench.cost import profile; "
        "assert profile(torch.nn.Linear(7, 5), torch.zeros(1, 7)).macs == 35"
    )
    assert loaded(code).isdisjoint(FOREIGN | {"matplotlib"})


def test_mcubench_alone_loads_next_to_nothing() -> None:
    assert loaded("import mcubench").isdisjoint(FOREIGN | {"torch", "matplotlib", "rich", "numpy"})
