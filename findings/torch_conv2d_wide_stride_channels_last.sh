#!/usr/bin/env bash
# torch: a convolution in single precision whose stride is as wide as its taps, of samples with one channel, channels last.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$place"
venv/bin/python - <<'PROGRAM'
import sys

import torch
from torch.nn import functional as F

print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}; taps 1 x 3, stride 1 x 3, input 3 x 5, one channel")


def is_right(samples: int) -> bool:
    torch.manual_seed(0)
    # (N, height, width, channels) in memory, which of one channel is as well (N, channels, height, width)
    x = torch.randn(samples, 3, 5, 1).permute(0, 3, 1, 2)
    weight = torch.randn(1, 1, 3, 1).permute(0, 3, 1, 2)
    found = F.conv2d(x, weight, stride=(1, 3))
    by_hand = (x[..., :3] * weight).sum(-1, keepdim=True)
    return bool((found - by_hand).abs().max() < 1e-5)


found = {samples: is_right(samples) for samples in (1, 4, 5, 8)}
for samples, right in found.items():
    print(f"{samples} samples: {'the sums of the products' if right else 'other numbers'}")
torch.backends.mkldnn.enabled = False
without = is_right(8)
print(f"8 samples without oneDNN: {'the sums of the products' if without else 'other numbers'}")
print("How many samples there are should change no sum: one would expect the sums each time.")
if "AVX512" not in torch.backends.cpu.get_cpu_capability():
    sys.exit("seen on a processor with AVX-512 only")
if found != {1: True, 4: True, 5: False, 8: False} or not without:
    sys.exit("this is no longer so")
PROGRAM
