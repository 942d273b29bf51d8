"""Which networks of other people get how far: counted, in integers after training, and after training with rounding.

    pip install timm snntorch pytorch-tcn
    python -m benchmarks.coverage [--write docs/coverage.md] [--only mobilenet ...] [--jobs 2]

Each runs in a process of its own, with random weights that a few steps of training have moved, on random samples. The
integer graph must give the bytes of TFLite Micro; MACs are compared with PyTorch's own counter of its operators.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command_line import page_command, show
from benchmarks.coverage_nets import Subject, subjects
from benchmarks.tables import table

SAMPLES = 8  # in a batch, and to observe ranges on
COMPARED = 2  # samples whose bytes are compared
STEPS = 3
SECONDS = 900  # for one network

Verdict = dict[str, Any]


def examine(subject: Subject) -> Verdict:
    """How far a network gets."""
    from mcubench import mend_torchvision
    from mcubench.graph import deploy, trace

    mend_torchvision()
    torch.manual_seed(0)
    module = subject.make()
    x = torch.randn(SAMPLES, *subject.shape)
    _train(module, x)
    found: Verdict = {"parameters": sum(each.numel() for each in module.parameters())}
    try:
        graph = deploy(trace(module.eval(), x[:1]))
    except Exception as error:  # whatever is said is the verdict
        return {**found, "counted": _reason(error)}
    found["counted"] = _attempt(lambda: _counted(module, x))
    found["quantised"] = _attempt(lambda: _quantised(graph, x))
    found["trained"] = _attempt(lambda: _trained(subject, x))
    return found


def _train(module: nn.Module, x: Tensor) -> None:
    """A few steps, so that batch norms have statistics and no weight is what it began as."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss = _first(module(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _first(output: Any) -> Tensor:
    while not isinstance(output, Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output


def _counted(module: nn.Module, x: Tensor) -> str:
    from mcubench.cost import profile

    report = profile(module, x[:1])
    if report.macs is None:
        return f"not known: {report.unsupported[0]}"
    torch.backends.mha.set_fastpath_enabled(False)  # it and fused attention are not seen by the counter
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        module(x[:1])
    theirs = counter.get_total_flops() // 2
    return "equal" if report.macs == theirs else f"{report.macs:,}, PyTorch {theirs:,}"


def _bytes(integer: Any, x: Tensor) -> str:
    from mcubench.export.interpreters import run_tflm
    from mcubench.export.tflite import to_tflite
    from mcubench.quant.integer import predict

    codes = integer.encode(x[:COMPARED])
    ours = predict(integer, *codes)
    theirs = run_tflm(to_tflite(integer), *(each.numpy() for each in codes))
    different = sum(int((a.numpy() != b).sum()) for a, b in zip(ours, theirs, strict=True))
    return "0 bytes differ" if different == 0 else f"{different} BYTES DIFFER"


def _quantised(graph: Any, x: Tensor) -> str:
    from mcubench.quant import quantize

    return _bytes(quantize(graph, calibration=x), x)


def _trained(subject: Subject, x: Tensor) -> str:
    """Trained with rounding for a few steps, and exported with the ranges that were learned."""
    from mcubench.cost import BitWidths
    from mcubench.quant import quantize
    from mcubench.quant.training import FakeQuantizer, Phase, make_plan, trained_ranges

    torch.manual_seed(0)
    module = subject.make()
    quantizer = FakeQuantizer(make_plan(module, x[:1]), BitWidths(), "moving_average")
    quantizer.attach(module, lambda: Phase.LEARN if module.training else Phase.ROUND)
    _train(module, x)
    state = quantizer.state()
    quantizer.detach()
    graph, ranges, widths = trained_ranges(module.eval(), x[:1], state)
    return _bytes(quantize(graph, ranges, widths=widths), x)


def _attempt(step: Callable[[], str]) -> str:
    try:
        return step()
    except Exception as error:  # whatever is said is the verdict
        return _reason(error)


def _reason(error: Exception) -> str:
    from mcubench.errors import UserError

    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def _in_process(subject: Subject) -> Verdict:
    """The same in another process, where a crash is a verdict, too."""
    command = [sys.executable, "-m", "benchmarks.coverage", "--one", f"{subject.package}/{subject.name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"counted": f"took more than {SECONDS} s"}
    try:
        verdict: Verdict = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"counted": f"ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"}
    return verdict


def _good(verdict: Verdict, key: str) -> bool:
    return verdict.get(key) in ("equal", "0 bytes differ")


def _row(subject: Subject, verdict: Verdict) -> list[str]:
    cells = []
    for key, ok in (("counted", "yes"), ("quantised", "0 differ"), ("trained", "0 differ")):
        said = verdict.get(key, "")
        cells.append(ok if _good(verdict, key) else said.replace("|", "/")[:140])
    return [
        subject.package,
        subject.name,
        "x".join(map(str, subject.shape)),
        f"{verdict.get('parameters', 0):,}",
        *cells,
    ]


def run(options: argparse.Namespace) -> int:
    warnings.filterwarnings("ignore")
    chosen = list(subjects())
    if options.one is not None:
        torch.set_num_threads(1)
        subject = next(each for each in chosen if f"{each.package}/{each.name}" == options.one)
        print(json.dumps(examine(subject)))
        return 0
    if options.only:
        chosen = [each for each in chosen if any(part in f"{each.package}/{each.name}" for part in options.only)]
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(track(pool.map(_in_process, chosen), "networks", total=len(chosen)))
    keys = ("counted", "quantised", "trained")
    sums = [f"{sum(_good(each, key) for each in verdicts)} of {len(chosen)}" for key in keys]
    text = table(
        "package | network | input | parameters: | MACs as PyTorch counts | after training | trained with rounding",
        [_row(subject, verdict) for subject, verdict in zip(chosen, verdicts, strict=True)],
    )
    total = table("counted | quantised after training | exported after training with rounding", [sums])
    show(options, {"coverage in all": total, "coverage": text})
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", help="networks whose package or name has one of these in it")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--one", help=argparse.SUPPRESS)


def main() -> int:
    """The command line."""
    return page_command(run, __doc__, _add_options)


if __name__ == "__main__":
    sys.exit(main())
