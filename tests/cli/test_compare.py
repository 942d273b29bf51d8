"""``compare``: the table, its files, and what is said where there is nothing to compare."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from mcubench.cli.help import OVERVIEW, describe
from mcubench.cli.main import main
from tests.cli.test_main import failure
from tests.conftest import REPOSITORY
from tests.results.test_comparison import change, write_run

DOCUMENTED = re.compile(r"python -m mcubench compare(?: [^\s`#]+)*")


@pytest.fixture
def runs(workplace: Path) -> Path:
    """Two models on MNIST, one of them with three seeds, and one on HAPT's features."""
    root = workplace / "runs"
    for seed, test in enumerate((0.8, 0.9, 1.0)):
        write_run(root, f"{seed}-CNN-MNIST", model="CNN", data="MNIST", seed=seed, test=test, macs=36_000)
    write_run(root, "3-Tree-MNIST", model="Tree", data="MNIST", test=0.85, macs=0, ram_bytes=None)
    write_run(root, "4-MLP-HAPT", data="HAPT", features=78_284, data_options={"inputs": "a|b"})
    (root / "5-killed" / "checkpoints").mkdir(parents=True)
    return root


def test_the_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    (cnn,) = (line.split() for line in lines if " CNN " in line)
    assert cnn[:4] == ["CNN", "3", "float/8", "90.00"]
    assert cnn[-6:-2] == ["*36,000", "*400", "64", "3.50"]
    (tree,) = (line.split() for line in lines if " Tree " in line)
    assert tree == ["Tree", "1", "float/8", "85.00", "85.00", "*0", "400", "?", "3.50", "-"]
    (mlp,) = (line.split() for line in lines if " MLP " in line)
    assert mlp[-1] == "78,284"
    assert "fit [s]" in printed
    assert "Student's t" in printed
    assert "note: left out: 1 of 6 runs in runs, unfinished (no result.json)" in printed


def test_runs_by_name(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "runs/3-Tree-MNIST", "--csv", "a.csv", "runs/4-MLP-HAPT"]) == 0
    printed = capsys.readouterr().out
    assert "CNN" not in printed
    assert "Student" not in printed, "one seed has no interval"
    assert "wrote a.csv" in printed
    assert len(Path("a.csv").read_text().splitlines()) == 3


def test_markdown_is_the_table(runs: Path) -> None:
    write_run(runs, model="Odd", data="MNIST", test=0.1, options={"p": "x|y"})
    write_run(runs, model="Odd", data="MNIST", test=0.2, options={"p": "z"})
    assert main(["compare", "--markdown", "out/a.md"]) == 0
    written, remarks = Path("out/a.md").read_text("utf-8").split("\n\n")
    header, rule, *rows = (
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in written.splitlines()
    )
    assert "- left out: 1 of 8 runs in runs, unfinished (no result.json)" in remarks.splitlines()
    assert all(re.fullmatch("---:?", cell) for cell in rule)
    assert {len(row) for row in rows} == {len(header)} == {len(rule)}
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["model"] for row in table] == ["MLP", "CNN", "Tree", "Odd p=z", r"Odd p=x\|y"]
    assert table[1]["test [%]"] == "90.00 ±24.84"
    assert [table[index]["MACs"] for index in (1, 2)] == ["**36,000**", "**0**"]
    assert table[2]["RAM [B]"] == "?"


def test_pictures(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(mpl.rcParams)
    assert main(["compare", "--plot", "out/pareto"]) == 0
    assert {path.name for path in Path("out").iterdir()} == {
        f"pareto-{data}.{form}" for data in ("MNIST", "HAPT") for form in ("png", "svg")
    }
    assert "wrote out/pareto-HAPT.png and out/pareto-HAPT.svg" in capsys.readouterr().out
    assert dict(mpl.rcParams) == before


def test_nothing_to_draw(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(workplace / "runs", test=None)
    assert main(["compare", "--plot", "a"]) == 0
    assert "note: nothing to draw of Digits" in capsys.readouterr().out
    assert not list(workplace.glob("a.*"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("nowhere", "there is no folder nowhere"),
        ("runs/5-killed", "runs/5-killed has no result.json: its fit has not ended"),
        ("runs/3-Tree-MNIST/result.json", "there is no folder runs/3-Tree-MNIST/result.json"),
        ("--csv out", "--csv out is a folder; give a file"),
        ("--markdown out", "--markdown out is a folder; give a file"),
        ("--plot out", "--plot out is a folder; give the start of two files' names, as in out/pareto"),
        ("--csv a.txt", "--csv a.txt: its name must end in .csv; got a.txt"),
        ("--markdown a.csv", "--markdown a.csv: its name must end in .md; got a.csv"),
        ("--plot a.png", "--plot writes .png and .svg: give their name without it, as in a"),
        ("--csv /proc/a.csv", "/proc/a.csv can't be written: "),
        ("runs/3-Tree-MNIST --plot /proc/a", "--plot /proc/a.png can't be written: "),
        ("--csv", "--csv: expected one argument; try --help"),
        ("--markdwn a.md", "there is no option --markdwn. Did you mean '--markdown'?"),
    ],
)
def test_wrong_options_are_one_line(args: str, message: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    assert message in failure(capsys, "compare", *args.split())


def test_wrong_results_are_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs / "3-Tree-MNIST" / "result.json"
    change(path.parent, schema_version=2)
    assert "3-Tree-MNIST/result.json has schema_version 2" in failure(capsys, "compare")
    path.write_text("{")
    assert "3-Tree-MNIST/result.json is damaged: it is not JSON" in failure(capsys, "compare")


def test_without_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder runs" in failure(capsys, "compare")


def test_help_teaches_commands_that_run(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("mcubench.results.comparison.plot.plot_pareto", lambda data, *_: drawn.append(data))
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--help"])
    assert caught.value.code == 0
    assert "python -m mcubench compare --plot pareto" in capsys.readouterr().out
    write_run(runs.with_name("old_runs"))
    pages = ((REPOSITORY / name).read_text("utf-8") for name in ("README.md", "docs/result.md"))
    commands = set(DOCUMENTED.findall("\n".join([describe("compare"), OVERVIEW, *pages])))
    assert len(commands) >= 6
    for command in commands:
        args = shlex.split(command)[3:]
        if "--suite" in args:
            continue  # tests/cli/test_suite.py
        expanded = [str(path) for arg in args for path in (sorted(Path().glob(arg)) if "*" in arg else [arg])]
        assert main(expanded) == 0
    assert {"MNIST", "HAPT"} <= set(drawn)


def test_it_takes_no_framework(runs: Path) -> None:
    code = (
        "import sys; from mcubench.cli.main import main;"
        "main(['compare', 'runs/3-Tree-MNIST', '--csv', 'a.csv', '--plot', 'a']);"
        "heavy = {'torch', 'torchvision', 'lightning', 'tensorflow', 'keras', 'sklearn', 'matplotlib.pyplot'};"
        "print('loaded', heavy & set(sys.modules), 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert "loaded set() True" in done.stdout
