#!/usr/bin/env bash
# torch: FlopCounterMode and attention in evaluation, where fused kernels compute it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$place"
venv/bin/python - <<'PROGRAM'
import sys
import warnings

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

warnings.filterwarnings("ignore")
print(f"torch {torch.__version__}, on the CPU")
WIDTH, TOKENS = 32, 10
module, x = nn.MultiheadAttention(WIDTH, 4, batch_first=True).eval(), torch.randn(1, TOKENS, WIDTH)
# four products with matrices of 32 x 32 for each token, and two of tokens with tokens
projections, products = 4 * TOKENS * WIDTH * WIDTH, 2 * TOKENS * TOKENS * WIDTH


def counted() -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x, x, x, need_weights=False)
    return counter.get_total_flops() // 2


as_it_comes = counted()
torch.backends.mha.set_fastpath_enabled(False)
without_fast_path = counted()
with sdpa_kernel(SDPBackend.MATH):
    by_matrix_products = counted()
print(f"by hand:                               {projections:,} in projections, {products:,} between tokens")
print(f"FlopCounterMode, as it comes:          {as_it_comes:,}")
print(f"without the fast path:                 {without_fast_path:,}")
print(f"and attention as products of matrices: {by_matrix_products:,}")
print("One would expect the last figure, or an error, each time: what is not known to the counter is counted as nothing.")
if by_matrix_products != projections + products or as_it_comes >= by_matrix_products:
    sys.exit("this is no longer so")
PROGRAM
