"""The report in all its forms; its figures are the hand counts of small nets."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from mcubench.cost import BitWidths, CostReport, find_device, profile, profile_graph
from mcubench.cost.devices import Fit
from mcubench.cost.table import print_report
from mcubench.cost.timeline import plot_timeline
from mcubench.graph import trace


class Spectrum(nn.Module):
    """Something that has no counterpart."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


class Net(nn.Module):
    """A convolution, a pool and a linear layer, and one that is not used."""

    def __init__(self, named: str = "head") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.named = named
        self.add_module(named, nn.Linear(64, 10))
        self.spare = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.named)(self.body(x).flatten(1))


# By hand: 64 pixels * 9 * 4 and 64 * 10; 36 + 4, 640 + 10 and, unused, 35 + 7; 12 B beside the weights for each of 4
# and 10 channels; 64 input pixels beside 4 * 64, and these beside 4 * 16.
MACS, PARAMS, UNUSED, FLASH, RAM = 2304 + 640, 40 + 650 + 42, 42, 36 + 48 + 640 + 120, 320
OTHERS = {"comparisons": 0, "functions": 0}  # classical models have them


@pytest.fixture(scope="module")
def report() -> CostReport:
    return profile(Net(), torch.zeros(1, 1, 8, 8))


@pytest.fixture(scope="module")
def unknown() -> CostReport:
    return profile(nn.Sequential(nn.Linear(8, 8), Spectrum(), nn.Linear(5, 3)), torch.zeros(1, 8))


def printed(report: CostReport, width: int = 120, **more: Any) -> str:
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    print_report(report, console, **more)
    return console.export_text()


def unwrapped(text: str) -> str:
    """Lines that a terminal has broken between words are whole again."""
    return " ".join(text.split())


def rows(text: str) -> dict[str, list[str]]:
    """Rows of the table by their first cell, without bars."""
    return {words[0]: words[1:] for line in text.splitlines() if (words := re.sub("[█▏▎▍▌▋▊▉]", "", line).split())}


class TestAsDict:
    def test_totals(self, report: CostReport) -> None:
        found = report.as_dict()
        assert found["model"] == "Net"
        assert found["inputs"] == [[8, 8, 1]]  # channels last
        assert (found["macs"], found["params"], found["unused_params"]) == (MACS, PARAMS, UNUSED)
        assert (found["flash_bytes"], found["ram_bytes"], found["ram_lower_bound"]) == (FLASH, RAM, 320)
        assert found["ram_peak_at"] == "body.0: Conv 3x3 + relu"
        assert (found["weight_bits"], found["activation_bits"], found["bits_per_layer"]) == (8, 8, {})
        assert found["unsupported"] == found["notes"] == []

    def test_layers(self, report: CostReport) -> None:
        assert report.as_dict()["layers"] == [
            {
                **{"path": "body.0", "op": "Conv 3x3 + relu", "output_shape": (8, 8, 4), "params": 40},
                **{"macs": 2304, "flash_bytes": 36 + 48, "ram_bytes": 64 + 256, **OTHERS},
            },
            {
                **{"path": "body.2", "op": "MaxPool 2x2", "output_shape": (4, 4, 4), "params": 0},
                **{"macs": 0, "flash_bytes": 0, "ram_bytes": 256 + 64, **OTHERS},
            },
            {
                **{"path": "head", "op": "Dense", "output_shape": (10,), "params": 650},
                **{"macs": 640, "flash_bytes": 640 + 120, "ram_bytes": 64 + 10, **OTHERS},
            },
        ]

    def test_layers_add_up(self, report: CostReport) -> None:
        found = report.as_dict()
        for key in ("macs", "flash_bytes"):
            assert sum(layer[key] for layer in found["layers"]) == found[key]
        assert sum(layer["params"] for layer in found["layers"]) == PARAMS - UNUSED
        assert sum(line["bytes"] for line in found["flash"]) == FLASH
        assert max(layer["ram_bytes"] for layer in found["layers"]) == found["ram_lower_bound"]

    def test_widths(self) -> None:
        found = profile(Net(), torch.zeros(1, 1, 8, 8), BitWidths(4, 16, {"head": 8})).as_dict()
        # 36 weights at 4 bits are 18 B; activations take two bytes.
        assert found["flash_bytes"] == 18 + 48 + 640 + 120
        assert found["ram_bytes"] == 2 * 320
        assert (found["weight_bits"], found["activation_bits"], found["bits_per_layer"]) == (4, 16, {"head": 8})

    def test_count_bias(self) -> None:
        biased = profile(Net(), torch.zeros(1, 1, 8, 8), count_bias=True)
        assert biased.macs == MACS + 4 * 64 + 10
        assert [layer.macs for layer in biased.layers] == [2304 + 256, 0, 640 + 10]

    def test_tied_parameters_are_used(self) -> None:
        table, head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        head.weight = table.weight
        found = profile(nn.Sequential(table, head), torch.zeros(1, 3).long())
        assert (found.params, found.unused_params) == (36, 0)
        assert [layer.params for layer in found.layers] == [36, 0]  # where it is used first

    def test_what_is_not_known_is_null(self, unknown: CostReport) -> None:
        found = unknown.as_dict()
        assert found["macs"] is found["flash_bytes"] is found["ram_bytes"] is None
        assert {(each["op"], each["path"]) for each in found["unsupported"]} == {("aten.fft_rfft.default", "1")}
        assert all(set(each) == {"op", "path", "reason"} for each in found["unsupported"])
        by_path = {layer["path"]: layer for layer in found["layers"] if layer["op"] != "abs"}
        assert [by_path[path]["macs"] for path in ("0", "1", "2")] == [64, None, 15]


class TestFiles:
    def test_json(self, report: CostReport, tmp_path: Path) -> None:
        report.save_json(tmp_path / "deep" / "costs.json", device={"name": "x"})
        found = json.loads((tmp_path / "deep" / "costs.json").read_text("utf-8"))
        wanted = json.loads(json.dumps(report.as_dict()))
        assert found == {**wanted, "device": {"name": "x"}}
        assert (found["macs"], found["params"], found["flash_bytes"], found["ram_bytes"]) == (MACS, PARAMS, FLASH, RAM)
        assert found["unsupported"] == []
        assert [layer["output_shape"] for layer in found["layers"]] == [[8, 8, 4], [4, 4, 4], [10]]

    def test_json_of_unknown_costs_is_strict(self, unknown: CostReport, tmp_path: Path) -> None:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        unknown.save_json(tmp_path / "costs.json")
        text = (tmp_path / "costs.json").read_text("utf-8")
        found = json.loads(text, parse_constant=refuse)
        assert '"macs": null' in text
        assert (found["macs"], found["flash_bytes"], found["ram_bytes"]) == (None, None, None)
        assert "aten.fft_rfft.default" in {each["op"] for each in found["unsupported"]}

    def test_csv(self, report: CostReport, tmp_path: Path) -> None:
        report.save_csv(tmp_path / "costs.csv")
        with (tmp_path / "costs.csv").open(newline="") as file:
            found = list(csv.DictReader(file))
        assert [list(row.values()) for row in found] == [
            ["body.0", "Conv 3x3 + relu", "8x8x4", "40", "2304", "84", "320", "0", "0"],
            ["body.2", "MaxPool 2x2", "4x4x4", "0", "0", "0", "320", "0", "0"],
            ["head", "Dense", "10", "650", "640", "760", "74", "0", "0"],
        ]
        costs = ["params", "macs", "flash_bytes", "ram_bytes", "comparisons", "functions"]
        assert list(found[0]) == ["path", "op", "output_shape", *costs]

    def test_csv_of_unknown_costs_has_empty_cells(self, unknown: CostReport, tmp_path: Path) -> None:
        unknown.save_csv(tmp_path / "costs.csv")
        with (tmp_path / "costs.csv").open(newline="") as file:
            found = {row["op"]: row["macs"] for row in csv.DictReader(file)}
        assert found["aten.fft_rfft.default (?)"] == ""
        assert found["Dense"] == "15"

    @pytest.mark.parametrize("save", ["save_json", "save_csv"])
    def test_a_write_that_fails_leaves_what_was_there(
        self, save: str, report: CostReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "costs"
        target.write_text("before")

        def fail(*_: Any, **__: Any) -> Any:
            raise OSError("no space left on device")

        monkeypatch.setattr(json, "dumps", fail)
        monkeypatch.setattr(csv, "writer", fail)
        with pytest.raises(OSError, match="no space"):
            getattr(report, save)(target)
        assert target.read_text() == "before"
        assert list(tmp_path.iterdir()) == [target]


EMOJI = pytest.param(":smile:")


class TestTable:
    @pytest.mark.parametrize("width", [80, 120])
    def test_totals_and_layers(self, report: CostReport, width: int) -> None:
        text = printed(report, width)
        found = rows(text)
        assert found["total"] == ["732", "2,944", "844", "320"]
        assert found["body.0"] == ["Conv", "3x3", "+", "relu", "8x8x4", "40", "2,304", "84", "320"]
        assert found["body.2"] == ["MaxPool", "2x2", "4x4x4", "320"]  # nothing where nothing is needed
        assert found["head"] == ["Dense", "10", "650", "640", "760", "74"]
        assert "2,944 MACs · flash 844 B · RAM 320 B, needed in body.0: Conv 3x3 + relu" in text
        assert "Net, one sample of 8x8x1" in text

    @pytest.mark.parametrize("width", [80, 120])
    def test_the_table_is_no_wider_than_the_terminal(self, report: CostReport, width: int) -> None:
        table = printed(report, width).split("2,944 MACs ·")[0]
        assert max(map(len, table.splitlines())) <= width

    def test_bars_where_there_is_room(self, report: CostReport) -> None:
        assert "█" in printed(report, 120)
        assert "█" not in printed(report, 80)
        # All RAM is needed in body.0 and body.2: bars of eight, and none of more.
        assert [len(bar) for bar in re.findall("█{8,}", printed(report, 120))].count(8) == 2

    def test_conventions(self, report: CostReport) -> None:
        text = unwrapped(printed(report))
        for line in report.conventions():
            assert line in text
        assert "no plan takes less than 320 B" in text
        assert "weights packed at 8 bits, int32 biases" in text
        floats = unwrapped(printed(profile(Net(), torch.zeros(1, 1, 8, 8), BitWidths(16, 32, {"head": 8}))))
        assert "weights and biases as 16-bit floats, head: 8 bits" in floats
        assert "activations at 32 bits" in floats

    def test_notes(self) -> None:
        class Single(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.view(1, 8) * 2  # runs for a single sample only

        found = profile(Single(), torch.zeros(1, 8))
        assert len(found.notes) == 1
        assert found.notes[0] in printed(found)

    @pytest.mark.parametrize("width", [80, 120])
    def test_unused_parameters(self, report: CostReport, width: int) -> None:
        line = next(line for line in printed(report, width).splitlines() if "not used" in line)
        assert line.split()[-1] == "42"
        used = profile(nn.Linear(7, 5), torch.zeros(1, 7))
        assert used.unused_params == 0
        assert "not used" not in printed(used)

    @pytest.mark.parametrize("width", [80, 120])
    def test_what_is_not_known(self, unknown: CostReport, width: int) -> None:
        text = printed(unknown, width)
        # Known are 64 + 15 MACs, and 64 + 15 + 12 * 11 B.
        assert "? (≥ 79 MACs) · flash ? (≥ 211 B) · RAM ? (≥ " in text
        assert "not counted: aten.fft_rfft.default in 1 (" in text
        total = next(line for line in text.splitlines() if line.split()[:1] == ["total"])
        assert total.count("? (≥ ") == 3

    @pytest.mark.parametrize("name", ["[bold]x", "[red]head[/red]", "[/]", "a[0]", EMOJI])
    @pytest.mark.parametrize("width", [80, 120])
    def test_names_are_no_markup(self, name: str, width: int) -> None:
        # Conv1d: its own path is the one that needs most, so that the totals name it too.
        net = nn.Sequential()
        net.add_module(name, nn.Conv1d(2, 3, 3))
        text = printed(profile(net, torch.zeros(1, 2, 9)), width)
        assert name in rows(text)
        assert f"needed in {name}: Conv 3" in text

    def test_the_models_name_is_no_markup(self) -> None:
        graph = trace(nn.Linear(7, 5), torch.zeros(1, 7))
        assert "net[small], one sample of 7" in printed(profile_graph(graph, "net[small]"))

    def test_devices(self, report: CostReport) -> None:
        board = find_device("stm32f446")
        fits = Fit(board, flash=FLASH, ram=RAM, macs=MACS)
        over = Fit(find_device("ch32v003"), flash=64 * 1024, ram=RAM, macs=MACS)
        text = unwrapped(printed(report, fits=[fits, over]))
        assert fits.describe() in text
        assert over.describe() in text

    def test_a_file_has_no_edge(self, report: CostReport) -> None:
        file = io.StringIO()
        print_report(report, Console(file=file, width=40))
        assert rows(file.getvalue())["total"] == ["732", "2,944", "844", "320"]
        assert "\x1b" not in file.getvalue()

    def test_a_module_of_its_own_is_the_root(self) -> None:
        assert rows(printed(profile(nn.Linear(7, 5), torch.zeros(1, 7))))["(root)"] == [
            *("Dense", "5", "40", "35", "95", "12"),
        ]


MATHEMATICS = pytest.param("$\\frac$")


class TestTimeline:
    @pytest.fixture
    def drawn(self, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
        found: list[Figure] = []
        save = Figure.savefig

        def remember(figure: Figure, *args: Any, **kwargs: Any) -> None:
            found.append(figure)
            save(figure, *args, **kwargs)

        monkeypatch.setattr(Figure, "savefig", remember)
        return found

    def test_a_png(self, report: CostReport, tmp_path: Path) -> None:
        plot_timeline(report, tmp_path / "deep" / "ram.png")
        content = (tmp_path / "deep" / "ram.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        with Image.open(io.BytesIO(content)) as image:
            # At 120 dots an inch: 6 inches (4 steps need less) by 4.8.
            assert image.size == (720, 576)
            image.load()
        assert len(list((tmp_path / "deep").iterdir())) == 1

    def test_many_layers_make_it_wider(self, tmp_path: Path) -> None:
        net = nn.Sequential(*(layer for _ in range(9) for layer in (nn.Linear(8, 8), nn.Tanh())))
        plot_timeline(profile(net, torch.zeros(1, 8)), tmp_path / "ram.png")
        with Image.open(tmp_path / "ram.png") as image:
            assert image.size == (round(120 * (2.5 + 0.55 * 19)), 576)

    def test_every_buffer_is_a_rectangle(self, report: CostReport, drawn: list[Figure], tmp_path: Path) -> None:
        plot_timeline(report, tmp_path / "ram.png")
        (axes,) = drawn[0].axes
        patches = [each for each in axes.patches if isinstance(each, Rectangle) and each.get_facecolor()[3] == 0.55]
        placements = report.memory.placements
        assert len(patches) == len(placements) == 4  # input, convolution, pool, logits
        for patch, placed in zip(patches, placements, strict=True):
            buffer = placed.buffer
            assert (patch.get_x(), patch.get_y()) == (buffer.first - 0.5, placed.offset)
            assert (patch.get_width(), patch.get_height()) == (buffer.last - buffer.first + 1, buffer.size)
            assert patch.get_y() + patch.get_height() <= RAM

    def test_steps_and_peak_are_named(self, report: CostReport, drawn: list[Figure], tmp_path: Path) -> None:
        plot_timeline(report, tmp_path / "ram.png")
        (axes,) = drawn[0].axes
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == ["input", "body.0\nConv 3x3 + relu", "body.2\nMaxPool 2x2", "head\nDense"]
        assert axes.get_title() == "Net: 320 B of activations, most of them needed in body.0: Conv 3x3 + relu"
        assert axes.get_xlim() == (-0.5, 3.5)
        assert axes.get_ylim()[1] >= RAM
        # Large buffers carry their names; 10 logits are less than a sixteenth of the arena.
        assert sum("256 B" in text.get_text() for text in axes.texts) == 1
        assert len(axes.texts) == 3

    @pytest.mark.parametrize("name", ["a$b", "under_score", "a^b", MATHEMATICS])
    def test_names_are_no_mathematics(self, name: str, drawn: list[Figure], tmp_path: Path) -> None:
        net = nn.Sequential()
        net.add_module(name, nn.Linear(7, 5))
        plot_timeline(profile(net, torch.zeros(1, 7)), tmp_path / "ram.png")
        assert (tmp_path / "ram.png").stat().st_size > 0
        assert drawn[0].axes[0].get_xticklabels()[1].get_text() == f"{name}\nDense"


def test_every_layer_of_a_recurrent_stack_has_its_own_macs() -> None:
    # Over 5 steps and in both directions: 4 gates of 8 from 4 inputs, then from the 16 of the first layer.
    report = profile(nn.LSTM(4, 8, num_layers=2, bidirectional=True, batch_first=True), torch.zeros(1, 5, 4))
    assert [layer.macs for layer in report.layers[:2]] == [2 * 5 * 4 * 8 * (4 + 8), 2 * 5 * 4 * 8 * (16 + 8)]
