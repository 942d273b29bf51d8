"""Recurrent nets: PyTorch's cells, stepped by hand, are the reference."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mcubench.graph import deploy, trace
from mcubench.models import GRU, LSTM
from mcubench.models.recurrent import RecurrentClassifier
from mcubench.seeds.obstacles import obstacle_in_models

CELLS: dict[type[RecurrentClassifier], type[nn.RNNCellBase]] = {GRU: nn.GRUCell, LSTM: nn.LSTMCell}
SHAPES = [(3, 7), (1, 5, 4), (2, 5, 4)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def steps_of(x: Tensor) -> list[Tensor]:
    """All channels of each sample, or all pixels of each row, channel by channel."""
    if x.ndim == 3:
        return [x[:, :, step] for step in range(x.shape[2])]
    return [torch.cat([x[:, channel, row] for channel in range(x.shape[1])], 1) for row in range(x.shape[2])]


def stepped(model: RecurrentClassifier, steps: list[Tensor], which: str) -> list[Tensor]:
    """The hidden states of one direction of one layer, in the order in which they come about."""
    cell: Any = CELLS[type(model)](steps[0].shape[1], model.recurrent.hidden_size)
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.copy_(getattr(model.recurrent, f"{name}_{which}"))
    state, found = None, []
    for step in steps:
        state = cell(step, state)
        found.append(state[0] if isinstance(state, tuple) else state)
    return found


def expected(model: RecurrentClassifier, x: Tensor) -> Tensor:
    """Logits, with a convolution in front left out."""
    steps = steps_of(x)
    for layer in range(model.recurrent.num_layers):
        runs = [stepped(model, steps, f"l{layer}")]
        if model.directions == 2:
            runs.append(stepped(model, steps[::-1], f"l{layer}_reverse"))
        last = torch.cat([run[-1] for run in runs], 1)
        steps = [torch.cat(pair, 1) for pair in zip(runs[0], *(run[::-1] for run in runs[1:]), strict=True)]
    return model.head(last if model.summary == "last" else torch.stack(steps).mean(0))


@pytest.mark.parametrize("kind", [GRU, LSTM])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("summary", ["last", "mean"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_logits(
    kind: type[RecurrentClassifier], shape: tuple[int, ...], summary: Any, bidirectional: bool, layers: int
) -> None:
    model = kind(shape, 4, hidden=5, layers=layers, bidirectional=bidirectional, summary=summary)
    x = torch.randn(3, *shape)
    torch.testing.assert_close(model(x), expected(model, x))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_convolution_in_front_reads_the_steps(shape: tuple[int, ...]) -> None:
    model = GRU(shape, 4, hidden=5, conv_channels=3, kernel_size=3, stride=2, activation="tanh")
    assert model.front is not None
    x = torch.randn(2, *shape)
    found: list[Tensor] = []
    model.recurrent.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    model(x)
    (convolution, _), steps = model.front, [torch.zeros(2, model.front[0].in_channels), *steps_of(x)]
    steps.append(steps[0])  # a step of zeros before and behind, as the kernel has 3
    wanted = [
        torch.tanh(sum(convolution.weight[:, :, tap] @ steps[at + tap].T for tap in range(3)).T + convolution.bias)
        for at in range(0, len(steps) - 2, 2)
    ]
    torch.testing.assert_close(found[0], torch.stack(wanted, 1))


DEPLOYED = {
    "signal": (
        lambda: GRU((6, 128), 12),
        """
        input  x [128, 6]
        gru [128, 32], gru.state [1, 32] = GRU(x)  # recurrent
        select [32] = Select(gru.state)  # (root)
        linear [12] = Dense(select)  # head
        output linear
        """,
    ),
    "image": (
        lambda: LSTM((1, 28, 28), 10),
        """
        input  x [1, 28, 28]
        flatten [28, 28] = Reshape(x)  # (root)
        lstm [28, 32], lstm.state [1, 32], lstm.state.1 [1, 32] = LSTM(flatten)  # recurrent
        select [32] = Select(lstm.state)  # (root)
        linear [10] = Dense(select)  # head
        output linear
        """,
    ),
    "convolution": (
        lambda: GRU((6, 128), 12, conv_channels=8, stride=4, summary="mean"),
        """
        input  x [128, 6]
        relu [32, 8] = Conv 5 /4 + relu(x)  # front.0
        gru [32, 32], gru.state [1, 32] = GRU(relu)  # recurrent
        mean [32] = Reduce mean(gru)  # (root)
        linear [12] = Dense(mean)  # head
        output linear
        """,
    ),
}


@pytest.mark.parametrize(("make", "text"), DEPLOYED.values(), ids=DEPLOYED)
def test_deployed_nothing_moves(make: Any, text: str) -> None:
    model = make().eval()
    lines = [line.strip() for line in text.strip().splitlines()]
    assert str(deploy(trace(model, model.example_input_array))).splitlines() == lines


def test_seeds_are_trained_one_after_the_other() -> None:
    # vmap knows no recurrent layers: torch says so itself
    gru, lstm = (obstacle_in_models([kind((2, 9), 3), kind((2, 9), 3)]) for kind in (GRU, LSTM))
    assert "GRU can't be stacked (Batching rule not implemented" in str(gru)
    assert lstm == "LSTM has its own configure_gradient_clipping"


def test_an_lstm_begins_by_remembering() -> None:
    model = LSTM((3, 7), 4, hidden=5, layers=2, bidirectional=True)
    biases = [each.reshape(4, 5).detach() for name, each in model.recurrent.named_parameters() if "bias" in name]
    assert len(biases) == 8  # the input's and the state's, for each direction of each layer
    spread = 5**-0.5  # of PyTorch's initial weights
    for of_input, of_state in zip(biases[::2], biases[1::2], strict=True):
        for gate in range(4):  # input, forget, cell, output
            assert (of_input[gate] - (3 if gate == 1 else 0)).abs().max() <= spread
            assert of_state[gate].abs().max() <= spread


@pytest.mark.parametrize(("asked", "norm"), [(None, 0.25), (0.1, 0.1), (1e6, None)])
@pytest.mark.filterwarnings("ignore")
def test_gradients_of_an_lstm_are_clipped(asked: float | None, norm: float | None) -> None:
    norms: list[float] = []

    class Watched(LSTM):
        def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            super().optimizer_step(*args, **kwargs)
            gradients = [each.grad for each in self.parameters() if each.grad is not None]
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    x, y = torch.randn(8, 3, 7), torch.arange(8) % 4
    trainer = pl.Trainer(
        max_steps=2, gradient_clip_val=asked, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    model = Watched((3, 7), 4, hidden=5, schedule="constant")
    trainer.fit(model, DataLoader(TensorDataset(100 * x, y), batch_size=4))
    assert len(norms) == 2
    assert all(each > 0.25 if norm is None else each == pytest.approx(norm, rel=1e-3) for each in norms)
