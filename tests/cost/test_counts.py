"""What other tools count, against totals that they printed and counts by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mcubench.cli.main import main
from mcubench.cost import Part, ToolCount, count_like, profile
from mcubench.errors import UserError
from mcubench.graph import deploy, trace
from mcubench.models import CNN, MLP
from tests.cli.test_main import failure
from tests.reference_nets import KeywordDSCNN, PersonMobileNet, ResNet8

MY_FILE = """
from torch import nn


def lenet_block():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
"""
RELU = "relu (none where it is folded, as in int8)"
DENSE_BIAS = "bias of dense layers (none in version 5.2)"


def counted(tool: str, module: nn.Module, *shape: int) -> ToolCount:
    return count_like(deploy(trace(module.eval(), torch.zeros(1, *shape))), tool)


def lenet_block() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))


class Steps(nn.Module):
    """A recurrent layer over 5 steps of 3 values, its states of 4 as they are."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


class TestGapflow:
    @pytest.mark.parametrize(
        ("module", "shape", "products", "total"),
        [
            # What nntool printed of the int8 files in github.com/mlcommons/tiny, and the products by hand. An average
            # over a window w is w + 1 an output (64 * 126, 64 * 65, 256 * 10), an addition 2, a softmax 2.
            (KeywordDSCNN, (1, 49, 10), 2_656_768, 2_664_856),
            (ResNet8, (3, 32, 32), 12_501_632, 12_563_156),
            (PersonMobileNet, (3, 96, 96), 7_489_664, 7_492_228),
        ],
    )
    def test_files_of_mlperf_tiny(
        self, module: type[nn.Module], shape: tuple[int, ...], products: int, total: int
    ) -> None:
        found = counted("gapflow", nn.Sequential(module(), nn.Softmax(-1)), *shape)
        assert sum(each or 0 for each in found.macs) == products
        assert found.total == total
        assert sum(part.count or 0 for part in found.differences) == total - products

    def test_the_nets_of_the_exercise(self) -> None:
        # Its totals for the MLP 784-42-10 and the CNN: biases and relu are 0, max-pooling 14 * 14 * 32 * 4.
        assert counted("gapflow", MLP((1, 28, 28), 10), 1, 28, 28).total == 33_348
        cnn = counted("gapflow", CNN((1, 28, 28), 10), 1, 28, 28)
        assert cnn.total == 313_600
        assert cnn.differences == (Part("pooling", 25_088),)

    def test_a_mean_over_axes_has_no_window(self) -> None:
        # global_pooling.py of nntool: outputs + 1.
        class Mean(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.mean((2, 3))

        assert counted("gapflow", Mean(), 8, 5, 5).total == 8 + 1

    def test_recurrent_layers(self) -> None:
        # lstm.py and rnn.py of nntool, by hand, for 5 steps of 3 values and a state of 4.
        lstm = counted("gapflow", Steps(nn.LSTM(3, 4, batch_first=True)), 5, 3)
        assert lstm.total == 4 * (5 * 4 * 4 + 5 * 15 * 4) + 5 * (4 * 4 + 4 * 3)
        gru = counted("gapflow", Steps(nn.GRU(3, 4, batch_first=True)), 5, 3)
        assert gru.total == 2 * 15
        # 5 * 3 * 4 * (3 + 4) products that it does not see.
        assert gru.differences == (Part("GRU (nntool takes twice its input)", 30 - 420),)
        assert "420: - 390 GRU (nntool takes twice its input)" in gru.why()

    def test_what_it_can_not_know(self) -> None:
        found = counted("gapflow", nn.Sequential(nn.Linear(6, 4), nn.GELU()), 6)
        assert (found.by_layer, found.total, found.lower_bound) == ((24, None), None, 24)


class TestST:
    def test_first_block_of_lenet(self) -> None:
        """What version 5.2 printed: 28 * 28 * 6 * 25 products, 6 biases, 28 * 28 * 6 of relu, 14 * 14 * 6 * 4."""
        found = counted("st", lenet_block(), 1, 28, 28)
        assert found.total == 127_014
        assert found.by_layer == (117_600 + 6 + 4704, 4704)
        assert found.differences == (Part("bias", 6), Part(RELU, 4704), Part("pooling", 4704))
        assert found.why() == (
            f"st counts 127,014 where the convention here counts 117,600: + 6 bias, + 4,704 {RELU}, + 4,704 pooling"
        )

    def test_dense_layers_and_softmax(self) -> None:
        found = counted("st", nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3, bias=False), nn.Softmax(-1)), 6)
        assert found.total == (24 + 4 + 4) + 12 + 15 * 3
        assert found.differences == (Part(DENSE_BIAS, 4), Part(RELU, 4), Part("softmax", 45))

    @pytest.mark.parametrize(("kind", "each"), [("add", 1), ("mul", 1), ("div", 5)])
    def test_arithmetic(self, kind: str, each: int) -> None:
        class Branches(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.left, self.right = nn.Linear(5, 6), nn.Linear(5, 6)

            def forward(self, x: Tensor) -> Tensor:
                return torch.relu(getattr(torch, kind)(self.left(x), self.right(x)))

        assert counted("st", Branches(), 5).by_layer == (36, 36, 6 * each + 6)
        assert counted("gapflow", Branches(), 5).by_layer == (30, 30, 12)

    def test_sigmoid(self) -> None:
        assert counted("st", nn.Sequential(nn.Linear(5, 6), nn.Sigmoid()), 5).by_layer == (36, 60)
        assert counted("gapflow", nn.Sequential(nn.Linear(5, 6), nn.Sigmoid()), 5).by_layer == (30, 0)

    def test_means_and_transposes(self) -> None:
        class Moved(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.transpose(1, 2).contiguous(), x.mean(-1)

        found = counted("st", Moved(), 4, 6)
        assert sorted(found.by_layer) == [24 // 2, 2 * 24]

    @pytest.mark.parametrize(("layer", "gates", "more"), [(nn.LSTM, 4, 5), (nn.GRU, 3, 2)])
    @pytest.mark.parametrize("ways", [1, 2])
    def test_recurrent_layers(self, layer: type[nn.Module], gates: int, more: int, ways: int) -> None:
        found = counted("st", Steps(layer(3, 4, batch_first=True, bidirectional=ways == 2)), 5, 3)
        assert ways * 5 * (gates * 4 * (3 + 4) + more * 4) in found.by_layer
        assert "products" not in {part.reason for part in found.differences}  # they are those that we count

    def test_no_rule_is_a_lower_bound(self) -> None:
        found = counted("st", nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), 6)
        assert found.by_layer == (28, None, 15)
        assert (found.total, found.lower_bound) == (None, 43)
        assert found.why() == (
            f"st counts at least 43 where the convention here counts 36: + 7 {DENSE_BIAS}, + ? tanh (no rule known)"
        )

    def test_a_fused_activation_without_a_rule(self) -> None:
        found = counted("st", nn.Sequential(nn.Linear(6, 4), nn.ReLU6()), 6)
        assert (found.by_layer, found.lower_bound) == ((None,), 28)

    def test_products_of_a_layer_without_a_rule_are_taken_off(self) -> None:
        found = counted("st", nn.Sequential(nn.Conv1d(1, 2, 3), nn.ConvTranspose1d(2, 1, 3)), 1, 8)
        # 6 * 2 * 3 products and 2 biases; 12 * 3 products here of what has no rule there.
        reason = "TransposedConv 3 (no rule known)"
        assert found.lower_bound == 36 + 2
        assert found.differences == (Part("bias", 2), Part(reason, -36), Part(reason, None))

    def test_batch_norm_that_is_not_folded(self) -> None:
        assert counted("st", nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(2)), 2, 4, 4).by_layer == (32, None)

    def test_unknown_macs(self) -> None:
        class Spectrum(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return torch.fft.rfft(x).abs()

        found = counted("st", nn.Sequential(nn.Linear(8, 8, bias=False), Spectrum()), 8)
        assert found.differences == ()
        assert found.why() == "st counts at least 64; the MACs of the convention here are not known"


def test_the_same_count_has_no_differences() -> None:
    found = counted("gapflow", nn.Linear(6, 4), 6)
    assert found.differences == ()
    assert found.why() == "gapflow counts 24, as the convention here does"


def test_unknown_tools_and_classical_models_are_refused() -> None:
    with pytest.raises(UserError, match="how 'cube' counts; known are st, gapflow"):
        counted("cube", nn.Linear(6, 4), 6)
    with pytest.raises(UserError, match="known are st, gapflow"):
        profile(nn.Linear(6, 4), torch.zeros(1, 6), counts=["cube"])
    tree = pytest.importorskip("sklearn.tree").DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(UserError, match="st count networks; DecisionTreeClassifier is a classical model"):
        profile(tree, torch.zeros(1, 1), counts=["st"])


def test_without_the_option_nothing_changes() -> None:
    found = profile(lenet_block(), torch.zeros(1, 1, 28, 28)).as_dict()
    assert found["counts"] == {}
    assert "st" not in found["layers"][0]


class TestCommandLine:
    @pytest.fixture
    def model(self, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        name = f"counted_{workplace.name.replace('-', '_')}"  # modules are imported once
        Path(f"{name}.py").write_text(MY_FILE)
        monkeypatch.syspath_prepend(str(Path.cwd()))
        return ["profile", "--model", f"{name}.lenet_block", "--input_shape", "1,28,28"]

    def test_table(self, model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*model, "--counts", "st", "gapflow"]) == 0
        printed = capsys.readouterr().out
        rows = {words[0]: words[1:] for line in printed.splitlines() if (words := line.split())}
        assert rows["layer"][:6] == ["operation", "output", "params", "MACs", "st", "gapflow"]
        assert rows["0"][:8] == ["Conv", "5x5", "+", "relu", "28x28x6", "156", "117,600", "122,310"]
        assert rows["total"][:4] == ["156", "117,600", "127,014", "122,304"]
        assert f"117,600: + 6 bias, + 4,704 {RELU}, + 4,704 pooling\n" in printed

    def test_files(self, model: list[str]) -> None:
        assert main([*model, "--counts", "st", "--json", "costs.json", "--csv", "costs.csv"]) == 0
        found = json.loads(Path("costs.json").read_text())
        assert [layer["st"] for layer in found["layers"]] == [122_310, 4704]
        assert (found["counts"]["st"]["total"], found["counts"]["st"]["lower_bound"]) == (127_014, 127_014)
        assert found["counts"]["st"]["differences"][0] == {"reason": "bias", "count": 6}
        with Path("costs.csv").open(newline="") as file:
            assert [row["st"] for row in csv.DictReader(file)] == ["122310", "4704"]

    def test_a_total_with_something_unknown_is_marked(
        self, workplace: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ["--model", "torch.nn.Tanh", "--input_shape", "6"]
        assert main(["profile", *options, "--counts", "st", "--json", "c.json", "--csv", "c.csv"]) == 0
        assert "? (≥ 0)" in capsys.readouterr().out
        found = json.loads(Path("c.json").read_text())
        assert found["counts"]["st"]["total"] is found["layers"][0]["st"] is None
        assert Path("c.csv").read_text().splitlines()[1].endswith(",")

    def test_a_wrong_name(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        message = failure(capsys, "profile", "--counts", "cube")
        assert all(word in message for word in ("--counts", "cube", "st", "gapflow"))
