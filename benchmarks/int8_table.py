"""What the integer graph has of each operation, from the rules that decide it.

python -m benchmarks.int8_table [--write docs/quantization.md]
"""

from __future__ import annotations

import argparse
import re
import sys

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench.graph import ops
from mcubench.quant.integer.building import TABLE, Row
from mcubench.quant.integer.ir import Kernel
from mcubench.quant.integer.kernels import Gru
from mcubench.quant.sharing import MOVES

_LAYERS = (ops.Dense, ops.Conv, ops.TransposedConv)
_OF_A_GRU = "FULLY_CONNECTED, LOGISTIC, TANH, MUL, ADD, SUB and QUANTIZE of 16 bits, step by step"


def operator(kernel: type[Kernel]) -> str:
    """The operators of TFLite that a kernel is, which its description begins with."""
    if issubclass(kernel, Gru):
        return _OF_A_GRU
    return " or ".join(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b", (kernel.__doc__ or "").partition(":")[0])[:2])


def trained(row: Row) -> str:
    """What training with rounding rounds of it."""
    if issubclass(row.op, _LAYERS):
        return "weights, result"
    if issubclass(row.op, ops.Recurrent):
        return "weights, gates, states"
    if issubclass(row.op, (ops.LayerNorm, ops.RMSNorm)):
        return "parts, result"
    return "nothing: its codes are its input's" if issubclass(row.op, MOVES) else "result"


def rows() -> list[list[str]]:
    """A row an operation."""
    found = []
    for row in sorted(TABLE, key=lambda each: each.op.__name__):
        operators = dict.fromkeys(operator(kernel) for kernel in row.kernels)
        found.append([row.op.__name__, ", ".join(operators), row.limits, trained(row)])
    return found


def run(options: argparse.Namespace) -> int:
    text = table("operation of the graph | operators of TFLite | what is taken | rounded in training", rows())
    show(options, {"int8 operations": text})
    return 0


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
