"""What a fit says of its model in another form than the one that was trained; plain PyTorch is the reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import Tensor, nn

from mcubench.cli.main import main
from mcubench.datamodules import Digits
from mcubench.graph import deploy, trace
from mcubench.models import MLP, Classifier
from mcubench.quant.integer.run import predict
from mcubench.quant.quantize import quantize
from mcubench.results.form import priced_scores, short_form
from tests.trained import digits_run, trained

__all__ = ["digits_run"]

DIGITS = ("--data", "Digits", "--data.size", "8")


def row_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


class Recurrent(Classifier):
    """A network that has no kernels in integers here."""

    def __init__(self, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 10) -> None:
        super().__init__(input_shape, num_classes)
        self.cell = nn.RNN(8, 6, batch_first=True)
        self.out = nn.Linear(6, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x.squeeze(1))[0][:, -1])  # type: ignore[no-any-return]


def test_a_network_is_scored_in_float_and_in_8_bits(digits_run: Path) -> None:
    row = row_of(digits_run)
    assert (row["form"], row["other_form"]["form"]) == ("float", "8-bit")
    assert row["bits"] == {"weight": 8, "activation": 8}
    assert set(row["other_form"]["accuracy"]) == {"val", "test"}
    assert "1,000 training samples" in row["other_form"]["how"]
    priced = priced_scores(row)
    assert (priced["form"], priced["accuracy"]) == ("8-bit", row["other_form"]["accuracy"])


def test_both_parts_are_those_of_the_integer_graph(tmp_path: Path) -> None:
    run = trained(tmp_path, "--model", "MLP", *DIGITS)
    model = MLP.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True).eval()
    data = Digits(size=8, seed=0)
    data.setup()
    samples = torch.cat([x for x, _ in data.train_dataloader()])[:1000]
    integer = quantize(deploy(trace(model, samples[:1])), calibration=samples)
    row = row_of(run)
    for part in ("val", "test"):
        x, y = data.arrays(part)  # type: ignore[arg-type]
        (outputs,) = predict(integer, *integer.encode(torch.tensor(x)))
        expected = accuracy_score(y, outputs.flatten(1).argmax(1))
        assert row["other_form"]["accuracy"][part] == pytest.approx(expected, abs=1e-12)


def test_what_has_no_kernels_says_so_and_compare_marks_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path, "--model", f"{__name__}.Recurrent", *DIGITS)
    row = row_of(run)
    assert (row["form"], row["other_form"]) == ("float", None)
    (note,) = (note for note in row["notes"] if note.startswith("8-bit accuracy is not known"))
    assert "RNN" in note
    assert "accuracy, float" in capsys.readouterr().out
    assert priced_scores(row)["form"] == "float (priced 8-bit)"
    assert main(["compare", str(run)]) == 0
    assert "float/8: scored unrounded" in capsys.readouterr().out


def test_large_networks_are_left_to_quantize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcubench.cli.fitting.other_form.MOST_MACS", 1000)
    row = row_of(trained(tmp_path, "--model", "MLP", *DIGITS))
    assert row["other_form"] is None
    assert (
        f"8-bit accuracy is not known: at {row['macs']:,} MACs a sample it takes long; quantize measures it"
        in row["notes"]
    )


def test_what_was_trained_with_rounding_has_no_other_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rounding = (
        "--trainer.callbacks",
        "mcubench.callbacks.QuantizationAwareTraining",
        "--trainer.callbacks.weight_bits",
    )
    run = trained(tmp_path, "--model", "MLP", *DIGITS, *rounding, "4")
    row = row_of(run)
    assert (row["form"], row["other_form"]) == ("4-bit weights, 8-bit activations", None)
    assert "accuracy, 4-bit weights" in capsys.readouterr().out
    assert priced_scores(row)["accuracy"] == row["accuracy"]


@pytest.mark.parametrize(
    ("form", "short"),
    {
        "float": "float",
        "8-bit": "8",
        "float (priced 8-bit)": "float/8",
        "4-bit weights, 8-bit activations": "w4a8",
        "2-bit weights (others by layer), 8-bit activations": "w2a8",
        "8-bit, float": "8, float",
    }.items(),
)
def test_narrow_columns_have_short_forms(form: str, short: str) -> None:
    assert short_form(form) == short


def test_an_older_result_is_marked() -> None:
    row = {"accuracy": {"test": 0.5}, "macro_f1": {"test": 0.4}, "bits": {"weight": 8, "activation": 8}}
    assert priced_scores(row) == {"form": "float (priced 8-bit)", "accuracy": {"test": 0.5}, "macro_f1": {"test": 0.4}}
    assert priced_scores({**row, "bits": {"weight": 32, "activation": 32}})["form"] == "float"
