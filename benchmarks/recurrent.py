"""What recurrent layers take on emulated cores: instructions for a multiply-accumulate, code, working memory.

    python -m benchmarks.recurrent --write docs/quantization.md

Layers alone, with PyTorch's initial weights, over 16 steps, quantised with ranges from random inputs; the last state is
read. Counts are exact: they do not depend on the machine.
"""

from __future__ import annotations

import argparse
import sys

import torch
from rich.progress import track
from torch import Tensor, nn

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench.codegen import generate
from mcubench.graph import deploy, trace
from mcubench.quant import quantize
from mcubench.quant.integer import predict
from mcubench.target import CORES
from mcubench.target.measure import measure

STEPS, SAMPLES = 16, 2
SIZES = ((6, 32), (28, 20), (16, 64), (64, 64), (64, 128))  # inputs, units
CORES_SHOWN = ("cortex-m4", "cortex-m0+")


class Layer(nn.Module):
    """A recurrent layer, of which the last state is read."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], inputs: int, units: int) -> None:
        super().__init__()
        self.layer = kind(inputs, units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """The hidden state behind the last step, (N, units)."""
        state = self.layer(x)[1]
        last: Tensor = (state[0] if isinstance(state, tuple) else state)[-1]
        return last


def row(kind: type[nn.LSTM | nn.GRU], inputs: int, units: int) -> list[str]:
    torch.manual_seed(0)
    module, x = Layer(kind, inputs, units).eval(), torch.randn(64, STEPS, inputs)
    graph = quantize(deploy(trace(module, x[:1])), calibration=x)
    codes = graph.encode(x[:SAMPLES])[0]
    macs = STEPS * units * (inputs + units) * (4 if kind is nn.LSTM else 3)
    cells = [kind.__name__, f"{inputs} x {units}"]
    for key in CORES_SHOWN:
        core = CORES[key]
        found = measure(generate(graph, dialect=core.dialect), core, codes.numpy(), predict(graph, codes)[0].numpy())
        assert found.different == 0, key
        memory = found.arena_bytes + found.stack_bytes
        cells += [f"{found.instructions / macs:.2f}", f"{found.code_bytes:,}", f"{memory:,}"]
    return cells


def run(options: argparse.Namespace) -> int:
    layers = [(kind, *size) for kind in (nn.LSTM, nn.GRU) for size in SIZES]
    heads = (f"{CORES[key].name}: instructions a MAC: | code [B]: | arena and stack [B]:" for key in CORES_SHOWN)
    text = table(f"layer | inputs x units | {' | '.join(heads)}", [row(*layer) for layer in track(layers, "layers")])
    show(options, {"recurrent C": text})
    return 0


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
