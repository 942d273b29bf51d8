"""Multiply-accumulates as counters see them, against counts by hand.

    pip install -c constraints.txt pthflops torchinfo thop ptflops fvcore && pip install --no-deps calflops==0.3.2
    python -m benchmarks.counters --write docs/counters.md

Every counter gets every net of tests/known_answers.py, in eval mode, with one sample, in a process of its own: some
patch PyTorch's functions and leave them patched when they fail. A multiply-accumulate counts once; biases,
activations, normalisation, pooling and interpolation count nothing. Counters that count those by default, and take
modules or operators to leave out, are told to. A counter that is not installed has a column that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import inspect
import logging
import multiprocessing
import os
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from mcubench import mend_torchvision
from mcubench.files import atomic_path

RIGHT = "ok"
BIASED = "ok with biases"
ERROR = "error"
ABSENT = "not installed"

# Modules without multiply-accumulates, which some counters count.
FREE = (
    *(nn.ReLU, nn.ReLU6, nn.GELU, nn.Sigmoid, nn.Softmax),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.MaxPool1d, nn.MaxPool2d),
    *(nn.ZeroPad2d, nn.Upsample),
)


@functools.cache  # forked processes find it filled
def rows() -> list[Any]:
    """The nets: each has a name, its MACs by hand, make() for the module and inputs() for the arguments of forward."""
    from tests.known_answers import KNOWN_ANSWERS

    return list(KNOWN_ANSWERS)


def ours(module: nn.Module, inputs: tuple[Any, ...], count_bias: bool = False) -> int:
    from mcubench.cost import count_macs
    from mcubench.graph import trace

    # Sequence-first nets have their sample along the second axis, which is 1 there.
    batch_dim = next(axis for axis in (0, 1) if all(leaf.shape[axis] == 1 for leaf in tree_leaves(inputs)))
    return count_macs(trace(module, inputs, batch_dim), count_bias).total


def torch_plain(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """FLOPs, two a multiply-accumulate: torch.utils.flop_counter.mm_flop says m * n * 2 * k."""
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def torch_decomposed(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """As torch_plain, with everything off that fuses products into operators for which PyTorch has no formula."""

    def to_meta(leaf: Any) -> Any:
        return leaf.to("meta") if isinstance(leaf, Tensor) else leaf

    torch.backends.mha.set_fastpath_enabled(False)
    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        return torch_plain(module.to("meta"), tree_map(to_meta, inputs))


def pthflops(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiply-accumulates, called FLOPs: ops_fx._count_linear has inputs times outputs, plus the bias."""
    from pthflops import count_ops

    (x,) = inputs  # it runs nets of one input
    free = {part: lambda *_: 0 for part in module.modules() if isinstance(part, FREE)}
    return int(count_ops(module, x, custom_ops=free, print_readable=False, verbose=False)[0])


def torchinfo(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiply-accumulates, called mult-adds: layer_info.calculate_macs has weights and biases times positions."""
    from torchinfo import summary

    return int(summary(module, input_data=inputs, verbose=0).total_mult_adds)


def thop(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiply-accumulates: the README says ``macs, params = profile(model, inputs=(input, ))``."""
    from thop import profile

    free = dict.fromkeys(FREE, lambda *_: None)
    return int(profile(module, inputs=inputs, custom_ops=free, verbose=False)[0])


def ptflops(module: nn.Module, inputs: tuple[Any, ...], backend: str = "pytorch") -> int | None:
    """Multiply-accumulates: get_model_complexity_info documents its first result as MACs."""
    mend_torchvision()  # which it imports
    from ptflops import get_model_complexity_info

    names = inspect.signature(module.forward).parameters
    macs, _ = get_model_complexity_info(
        module,
        (1,),  # replaced by what the constructor returns
        input_constructor=lambda _: dict(zip(names, inputs, strict=False)),
        backend=backend,
        as_strings=False,
        print_per_layer_stat=False,
        ignore_modules=list(FREE) if backend == "pytorch" else [],
    )
    return macs


def ptflops_aten(module: nn.Module, inputs: tuple[Any, ...]) -> int | None:
    return ptflops(module, inputs, "aten")


def fvcore(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiply-accumulates, called FLOPs: "We count one fused multiply-add as one flop" (FlopCountAnalysis)."""
    from fvcore.nn import FlopCountAnalysis

    free = ["batch_norm", "layer_norm", "adaptive_avg_pool2d", "upsample_nearest2d", "upsample_bilinear2d"]
    # None, which is documented to have an operator ignored, does not displace its formula.
    formulas = {f"aten::{name}": lambda *_: 0 for name in free}
    return int(FlopCountAnalysis(module, inputs).set_op_handle(**formulas).total())


def calflops(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiply-accumulates: calculate_flops returns FLOPs, MACs and parameters."""
    # Its __init__ also imports what only named Hugging Face models need, transformers above all, undeclared.
    for name, function in (("flops_counter_hf", "calculate_flops_hf"), ("estimate", "create_empty_model")):
        sys.modules[f"calflops.{name}"] = unused = types.ModuleType(name)
        setattr(unused, function, None)
    from calflops import calculate_flops

    return int(calculate_flops(module, args=list(inputs), print_results=False, output_as_string=False)[1])


# The first word of a name is the package whose version is printed.
COUNTERS: dict[str, Callable[[nn.Module, tuple[Any, ...]], int | None]] = {
    "mcubench": ours,
    "torch": torch_plain,
    "torch (decomposed)": torch_decomposed,
    "pthflops": pthflops,
    "torchinfo": torchinfo,
    "thop": thop,
    "ptflops": ptflops,
    "ptflops (aten)": ptflops_aten,
    "fvcore": fvcore,
    "calflops": calflops,
}


def version(counter: str) -> str | None:
    """The version of a counter's package, None where it is not installed."""
    try:
        return metadata.version(counter.partition(" ")[0])
    except metadata.PackageNotFoundError:
        return None


def measure(counter: str, index: int) -> int | str:
    """What a counter says of a net, or why it says nothing; leaves PyTorch as it leaves it, and logging off."""
    if version(counter) is None:
        return ABSENT
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            row = rows()[index]
            macs = COUNTERS[counter](copy.deepcopy(row.make()).eval(), row.inputs())
        except Exception:  # whatever a counter raises is its answer
            return ERROR
    return ERROR if macs is None else macs


def report(nets: Sequence[Any], answers: dict[tuple[str, str], int | str]) -> str:
    """The results as Markdown: versions, table, and what each counter misses."""
    biased = {net.name: ours(net.make(), net.inputs(), count_bias=True) for net in nets}

    def cell(counter: str, net: Any) -> str:
        answer = answers[counter, net.name]
        if isinstance(answer, str):
            return answer
        if answer == biased[net.name] != net.macs:
            return BIASED
        return RIGHT if answer == net.macs else f"{answer:,} ({100 * (answer / net.macs - 1):+.3g} %)"

    versions = {counter.partition(" ")[0]: version(counter) for counter in COUNTERS}
    table = [[net.name, f"{net.macs:,}", *(cell(counter, net) for counter in COUNTERS)] for net in nets]
    right = [str(sum(cell(counter, net) == RIGHT for net in nets)) for counter in COUNTERS]
    with_biases = [str(sum(cell(counter, net) in (RIGHT, BIASED) for net in nets)) for counter in COUNTERS]
    lines = [
        "# Counters of multiply-accumulates\n",
        "Written by `python -m benchmarks.counters --write docs/counters.md`, which says how each counter is called.",
        f"`{RIGHT}` is the number counted by hand, to the last digit; wrong numbers are given with their deviation.",
        "pthflops, torchinfo and ptflops also count additions of biases, and cannot be told not to:",
        f"`{BIASED}` is right if these are counted, one for each element of a layer's output.\n",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in versions.items() if number) + ".\n",
        "| " + " | ".join(["net", "MACs", *COUNTERS]) + " |",
        "| --- |" + " ---: |" * (1 + len(COUNTERS)),
        *("| " + " | ".join(line) + " |" for line in [*table, [f"**right, of {len(nets)}**", "", *right]]),
        "| " + " | ".join([f"**right or right with biases, of {len(nets)}**", "", *with_biases]) + " |",
        "\nWhat each misses:\n",
    ]
    for counter in COUNTERS:
        said: dict[str, list[str]] = {"too few on": [], "too many on": [], "fails on": []}
        for net in nets:
            answer = answers[counter, net.name]
            if cell(counter, net) not in (RIGHT, BIASED):
                few = isinstance(answer, int) and answer < net.macs
                said["too few on" if few else "too many on" if isinstance(answer, int) else "fails on"].append(net.name)
        parts = [f"{verb} {', '.join(names)}" for verb, names in said.items() if names]
        lines.append(f"- {counter}: {ABSENT if version(counter) is None else '; '.join(parts) or 'nothing'}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file to write (default: print)")
    options = parser.parse_args()

    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    nets = rows()
    answers = {}
    for counter in COUNTERS:
        for index, net in enumerate(nets):
            print(f"{counter}: {index + 1} of {len(nets)}", end="\r", file=sys.stderr)
            with multiprocessing.get_context("fork").Pool(1) as process:
                answers[counter, net.name] = process.apply(measure, (counter, index))
    text = report(nets, answers)
    if options.write is None:
        print(text, end="")
    else:
        with atomic_path(options.write) as path:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
