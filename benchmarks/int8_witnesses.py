"""Does the integer graph compute what others compute, byte by byte? And does it take the RAM that is planned?

    python -m benchmarks.int8_witnesses --write docs/quantization.md

Every model is trained for 150 steps on real data and quantised with ranges from 512 training samples. Its codes for
the whole test set are compared with those of three interpreters that read the same ``.tflite``: TFLite Micro, LiteRT
with its reference kernels, and LiteRT as it comes (XNNPACK). RAM is what TFLite Micro's recording allocator says
beside the plan of the integer graph and that of ``profile``; flash is the size of the file, beside its estimate.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from benchmarks.command_line import exit_code
from benchmarks.tables import table, write_tables
from mcubench.cost.profiling import profile_graph
from mcubench.datamodules import HAPT, MNIST, TensorDataModule
from mcubench.export.interpreters import recorded_arena, run_litert, run_tflm
from mcubench.export.tflite import to_tflite
from mcubench.export.unrolled import planned_arena
from mcubench.graph import deploy, trace
from mcubench.models import CNN, DSCNN, GRU, LSTM, MLP, CNN1d
from mcubench.quant import quantize
from mcubench.quant.integer import predict

STEPS, BATCH, CALIBRATION = 150, 64, 512
MODELS = (
    *((MLP, MNIST), (CNN, MNIST), (DSCNN, MNIST), (GRU, MNIST), (LSTM, MNIST)),
    *((MLP, HAPT), (CNN1d, HAPT), (DSCNN, HAPT), (GRU, HAPT), (LSTM, HAPT)),
)

Codes = NDArray[np.int8]


def quickly_trained(kind: type[nn.Module], data: TensorDataModule) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = kind(data.input_shape, data.num_classes)
    x, y = (torch.from_numpy(part.copy()) for part in data.arrays("train"))
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for rows in torch.randint(len(x), (STEPS, BATCH)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
        optimizer.step()
    return module.eval()


def difference(ours: Codes, theirs: Codes) -> str:
    """How many bytes differ, by how many levels at most, and how many predictions with them."""
    levels = np.abs(ours.astype(int) - theirs)
    answers = int((ours.argmax(-1) != theirs.argmax(-1)).sum())
    return f"{int((levels > 0).sum()):,} (by {levels.max()}; {answers} answers)" if levels.any() else "0"


def measure(kind: type[nn.Module], data: TensorDataModule) -> tuple[list[str], list[str]]:
    """A row on bytes, and one on memory."""
    module = quickly_trained(kind, data)
    x = torch.from_numpy(data.arrays("test")[0].copy())
    traced = trace(module, x[:1])
    integer = quantize(deploy(traced), calibration=torch.from_numpy(data.arrays("train")[0][:CALIBRATION].copy()))
    (codes,) = integer.encode(x)
    ours = predict(integer, codes)[0].numpy()
    model = to_tflite(integer)
    name = f"{kind.__name__}, {type(data).__name__}"
    others = (
        run_tflm(model, codes.numpy())[0],
        run_litert(model, codes.numpy())[0],
        run_litert(model, codes.numpy(), reference=False)[0],
    )
    estimate, arena = profile_graph(traced, kind.__name__), recorded_arena(model)
    return [name, f"{ours.size:,}", *(difference(ours, each) for each in others)], [
        name,
        *(f"{size or 0:,}" for size in (estimate.ram_bytes, planned_arena(integer).peak, arena.head, arena.tail)),
        *(f"{size or 0:,}" for size in (estimate.flash_bytes, len(model))),
    ]


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    data = {kind: kind(root=options.root) for kind in (MNIST, HAPT)}
    measured = [measure(kind, data[source]) for kind, source in track(MODELS, "models")]
    bytes_head = "model, data | bytes: | TFLite Micro: | LiteRT, reference kernels: | LiteRT, default (XNNPACK):"
    memory_head = (
        "model, data | RAM by `profile` [B]: | planned [B]: | TFLite Micro's head [B]: | its tail [B]: "
        "| flash by `profile` [B]: | `.tflite` [B]:"
    )
    tables = {
        "witnesses": table(bytes_head, [row for row, _ in measured]),
        "memory": table(memory_head, [row for _, row in measured]),
    }
    if options.write:
        write_tables(options.write, tables)
    else:
        print(*tables.values(), sep="\n\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the data root (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
