"""What each of the known mistakes costs when a trained net is carried over from PyTorch to Keras.

    python -m benchmarks.parity_traps [--seeds 5] [--backend tensorflow] [--write docs/parity.md]

Small nets are trained on scikit-learn's digits. Their Keras twins get one mistake each: what do the outputs say, what
does the accuracy say, and which layer does `mcubench.parity.compare` name? A second part trains both frameworks side by
side, with Keras' own defaults one at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from benchmarks.tables import interval, write_tables
from mcubench.datamodules import Digits
from mcubench.models import CNN
from mcubench.parity import compare, default_effects, load_keras, train_both
from mcubench.parity.building import Adapt
from mcubench.parity.training.curves import Estimate, TrainingParity
from mcubench.parity.twin import as_graph, build_model, graph_for_keras

STEPS, BATCH = 300, 64


class Recurrent(nn.Module):
    """Reads an image row by row."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.recurrent = kind(8, 16, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits from images (N, 1, 8, 8)."""
        steps: Tensor = self.recurrent(x[:, 0])[0]
        return torch.as_tensor(self.head(steps[:, -1]))


def convolutional() -> nn.Module:
    """A net that steps into most of the traps."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU()),
        *(nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), nn.Flatten(), nn.Linear(128, 32), nn.GELU()),
        *(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": convolutional,
    "LSTM": lambda: Recurrent(nn.LSTM),
    "GRU": lambda: Recurrent(nn.GRU),
}


@dataclass(frozen=True)
class Trap:
    """One mistake.

    Attributes:
        name: What was done wrong.
        net: The net that it is done to.
        adapt: Changes options of layers.
        tamper: Changes the finished model; it may return another.
    """

    name: str
    net: str
    adapt: Adapt | None = None
    tamper: Callable[[Any, Any], Any] | None = None


def option(kind: str, **wrong: Any) -> Adapt:
    """Other options for the layers of a class."""
    return lambda _label, made, options: {**options, **wrong} if made == kind else options


def same_padding(label: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Padding "same" for the first convolution."""
    if label == "0" and kind == "ZeroPadding2D":
        return {**options, "padding": 0}
    return {**options, "padding": "same"} if kind == "Conv2D" else options


def weights(layer: str, change: Callable[..., list[Any]]) -> Callable[[Any, Any], Any]:
    """Replaces a layer's weights by what a function makes of them."""

    def tamper(_keras: Any, model: Any) -> Any:
        found = model.get_layer(layer)
        found.set_weights(change(*found.get_weights()))
        return model

    return tamper


def unpermuted(kernel: Any, bias: Any) -> list[Any]:
    """The kernel behind a flatten of 4 x 4 x 8, its rows in PyTorch's order: 8 x 4 x 4."""
    return [np.moveaxis(kernel.reshape(4, 4, 8, -1), 2, 0).reshape(kernel.shape), bias]


def gates(order: tuple[int, ...]) -> Callable[..., list[Any]]:
    """Gates in another order."""

    def change(*tensors: Any) -> list[Any]:
        return [np.concatenate([np.split(each, len(order), -1)[gate] for gate in order], -1) for each in tensors]

    return change


def softmax_at_the_end(keras: Any, model: Any) -> Any:
    return keras.Model(model.inputs[0], keras.layers.Softmax(name="softmax")(model.outputs[0]))


TRAPS = [
    Trap("none", "convolutional"),
    Trap("kernel behind Flatten not permuted", "convolutional", tamper=weights("5", unpermuted)),
    Trap('padding "same" for padding=1 at stride 2', "convolutional", same_padding),
    Trap("batch norm: epsilon 1e-3, Keras' default", "convolutional", option("BatchNormalization", epsilon=1e-3)),
    Trap("layer norm: epsilon 1e-3, Keras' default", "convolutional", option("LayerNormalization", epsilon=1e-3)),
    Trap("LeakyReLU: slope 0.3, Keras' default", "convolutional", option("LeakyReLU", negative_slope=0.3)),
    Trap("square Dense kernel not transposed", "convolutional", tamper=weights("8", lambda k, b: [k.T, b])),
    Trap("softmax in the model and in the loss", "convolutional", tamper=softmax_at_the_end),
    Trap("none", "LSTM"),
    Trap("LSTM: bias doubled", "LSTM", tamper=weights("recurrent", lambda k, r, b: [k, r, 2 * b])),
    Trap("LSTM: one of PyTorch's two biases dropped", "LSTM"),
    Trap("LSTM: output gate before the cell's", "LSTM", tamper=weights("recurrent", gates((0, 1, 3, 2)))),
    Trap("none", "GRU"),
    Trap("GRU: gates in PyTorch's order", "GRU", tamper=weights("recurrent", gates((1, 0, 2)))),
]


@dataclass(frozen=True)
class Measured:
    """What one trap did to one trained net."""

    relative: float
    top1: float
    accuracy: float
    named: str


def trained(make: Callable[[], nn.Module], data: Digits, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = make()
    x, y = (torch.from_numpy(np.array(each)) for each in data.arrays("train"))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    return net.eval()


def measure(keras: Any, trap: Trap, net: nn.Module, x: Tensor, y: Tensor) -> Measured:
    graph = graph_for_keras(as_graph(net, x[:1]))
    twin = build_model(keras, graph, "twin", trap.adapt)
    if trap.name.startswith("LSTM: one of"):
        bias = net.recurrent.bias_ih_l0.detach().numpy()  # type: ignore[union-attr, operator]
        twin = weights("recurrent", lambda kernel, recurrent, _: [kernel, recurrent, bias])(keras, twin)
    elif trap.tamper is not None:
        twin = trap.tamper(keras, twin)
    report = compare(net, twin, x)
    (output,) = report.outputs
    assert output.difference is not None
    first = report.first_divergence
    moved = x.movedim(1, -1) if trap.net == "convolutional" else x
    logits = keras.ops.convert_to_numpy(twin(moved.numpy(), training=False))
    return Measured(
        relative=output.difference.relative,
        top1=float(output.top1 or 0.0),
        accuracy=float((logits.argmax(-1) == y.numpy()).mean()),
        named=f"{first.path}: {first.op}" if first else report.structure[0] if report.structure else "",
    )


def traps_table(keras: Any, data: Digits, seeds: int) -> str:
    x, y = (torch.from_numpy(np.array(each)) for each in data.arrays("test"))
    nets = {name: [trained(make, data, seed) for seed in range(seeds)] for name, make in NETS.items()}
    lines = [
        "| mistake | net | relative error of the outputs | same class as PyTorch, % | accuracy, % | named |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for trap in track(TRAPS, description="traps"):
        found = [measure(keras, trap, net, x, y) for net in nets[trap.net]]
        named = " / ".join(dict.fromkeys(each.named for each in found))
        cells = (
            interval([each.relative for each in found], ".1e" if found[0].relative < 1e-3 else ".3f"),
            interval([each.top1 for each in found], ".1f", 100),
            interval([each.accuracy for each in found], ".1f", 100),
        )
        lines.append(f"| {trap.name} | {trap.net} | {' | '.join(cells)} | {f'`{named}`' if named else ''} |")
    return "\n".join(lines)


def batches(data: Digits, steps: int) -> list[tuple[Tensor, Tensor]]:
    loader = data.train_dataloader()
    found: list[tuple[Tensor, Tensor]] = []
    while len(found) < steps:
        found.extend(loader)
    return found[:steps]


def training_table(data: Digits, steps: int) -> str:
    lines = [
        "| net | optimiser | largest relative gap of the losses | PyTorch to itself, one rounding apart |",
        "| --- | --- | ---: | ---: |",
    ]
    for name, make in {"CNN": lambda: CNN((1, 8, 8), 10), **NETS}.items():
        for optimizer in ("sgd", "momentum", "adam", "adamw"):
            torch.manual_seed(0)
            found = train_both(make(), batches(data, steps), optimizer)
            lines.append(f"| {name} | {optimizer} | {found.gap:.1e} | {found.rounding:.1e} |")
    return "\n".join(lines)


def defaults_table(data: Digits, steps: int, seeds: int) -> str:
    torch.manual_seed(0)
    net = convolutional()
    held_out = next(iter(data.val_dataloader()))
    options: dict[str, Any] = {"optimizer": "adamw", "held_out": held_out}
    training: TrainingParity = train_both(net, batches(data, steps), **options)
    effects = default_effects(net, batches(data, steps), seeds=seeds, progress=track, **options)
    lines = [
        "| what | PyTorch | Keras | largest gap of the losses | last losses | held out |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        f"| PyTorch | | | | {training.torch.last:.4f} | {training.torch.held_out:.4f} |",
        f"| the twin, nothing by default | | | {training.gap:.1e} | {training.keras.last:.4f} | "
        f"{training.keras.held_out:.4f} |",
    ]
    for effect in effects:
        assert effect.held_out is not None
        gap = estimate(effect.gap, ".1e" if effect.gap.mean < 1e-3 else ".3f")
        lines.append(
            f"| {effect.name} | {effect.pytorch} | {effect.keras} | {gap} | {estimate(effect.last, '.4f')} | "
            f"{estimate(effect.held_out, '.4f')} |"
        )
    return "\n".join(lines)


def estimate(value: Estimate, form: str) -> str:
    return f"{value.mean:{form}}" + ("" if value.half is None else f" ± {value.half:{form}}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50, help="of the trainings side by side")
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keras = load_keras(options.backend)
    data = Digits(size=8, seed=0)
    data.setup()
    tables = {
        "traps": traps_table(keras, data, options.seeds),
        "training": training_table(data, options.steps),
        "defaults": defaults_table(data, options.steps, options.seeds),
    }
    versions = f"torch {torch.__version__}, keras {keras.__version__} on {keras.backend.backend()}"
    if options.write is None:
        print(versions, *tables.values(), sep="\n\n")
        return
    write_tables(options.write, tables | {"versions": f"Measured with {versions}."})


if __name__ == "__main__":
    main()
