"""What int8 costs a network that has a function in it: accuracy on MNIST's test set, in float and in integers.

    python -m benchmarks.int8_functions [--write docs/quantization.md] [--seeds 3]

A small network, two convolutions with the function behind each (or once, where it is a head), trained for two epochs on
MNIST's training images, quantised after training with ranges of 512 of them.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from rich.progress import track
from torch import Tensor, nn

from benchmarks.command_line import page_command, show
from benchmarks.coverage_nets.papers import Apply, SqueezeAndExcite, shuffled
from benchmarks.tables import interval, table
from mcubench.datamodules import MNIST
from mcubench.graph import trace
from mcubench.quant import quantize
from mcubench.quant.integer import predict

EPOCHS, BATCH, CALIBRATION = 2, 128, 512

FUNCTIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "SiLU": nn.SiLU,
    "hard sigmoid": nn.Hardsigmoid,
    "hard swish": nn.Hardswish,
    "GELU": nn.GELU,
    "mish": nn.Mish,
    "ELU": nn.ELU,
    "SELU": nn.SELU,
    "softplus": nn.Softplus,
    "PReLU": lambda: nn.PReLU(16),
    "clamp to -1, 127/128": lambda: Apply(lambda x: x.clamp(-1, 127 / 128)),
    "absolute": lambda: Apply(torch.abs),
    "x * x": lambda: Apply(lambda x: x.clamp(-4, 4) ** 2),
    "squeeze and excite": lambda: nn.Sequential(nn.ReLU(), SqueezeAndExcite(16, nn.Hardsigmoid())),
    "channels shuffled": lambda: nn.Sequential(shuffled(2), nn.ReLU()),
    "batch norm behind ReLU": lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(16)),
    "padded by reflection": lambda: nn.Sequential(nn.ReLU(), nn.ReflectionPad2d(1)),
    "bilinear": lambda: nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear")),
    "log-softmax": nn.ReLU,
    "nearest": lambda: nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2)),
}
HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "maximum over rows": lambda x: x.amax(2).flatten(1),
    "sum over rows": lambda x: x.sum(2).flatten(1),
    "uneven windows": lambda x: F.adaptive_avg_pool2d(x, 3).flatten(1),
}


def network(name: str) -> nn.Module:
    """The network with a function or a head of that name."""
    make = FUNCTIONS.get(name, nn.ReLU)
    last = [nn.LogSoftmax(1)] if name == "log-softmax" else []
    body = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, 2), nn.BatchNorm2d(16), make(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), make()),
        Apply(HEADS.get(name, lambda x: x.flatten(1))),
    )
    features = body(torch.zeros(2, 1, 28, 28)).shape[1]
    return nn.Sequential(body, nn.Linear(features, 10), *last)


def scores(name: str, seed: int, data: MNIST) -> tuple[float, float]:
    """Test accuracy in float and in integers."""
    torch.manual_seed(seed)
    module = network(name)
    (x, y), (x_test, y_test) = (map(torch.from_numpy, data.arrays(part)) for part in ("train", "test"))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(module(x[chosen]), y[chosen].long())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    module.eval()
    with torch.no_grad():
        in_float = float((module(x_test).argmax(1) == y_test).float().mean())
    integer = quantize(trace(module, x[:1]), calibration=x[:CALIBRATION])
    codes = predict(integer, *integer.encode(x_test))[0].flatten(1)
    return in_float, float((codes.argmax(1) == y_test).float().mean())


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    data = MNIST(root=None if options.root is None else str(options.root))
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    rows = []
    for name in track([*FUNCTIONS, *HEADS], "functions"):
        found = [scores(name, seed, data) for seed in range(options.seeds)]
        in_float, in_integers = (list(each) for each in zip(*found, strict=True))
        apart = [after - before for before, after in found]
        cells = [interval(in_float, scale=100), interval(in_integers, scale=100), interval(apart, "+.2f", 100)]
        rows.append([name, *cells])
    text = table("network with | float [%]: | int8 after training [%]: | difference [points]:", rows)
    show(options, {"int8 functions": text})
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=3, help="how often each is trained")
    parser.add_argument("--threads", type=int, default=1, help="of torch")


def main() -> int:
    """The command line."""
    return page_command(run, __doc__, _add_options)


if __name__ == "__main__":
    sys.exit(main())
