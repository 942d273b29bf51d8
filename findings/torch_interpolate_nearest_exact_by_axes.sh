#!/usr/bin/env bash
# F.interpolate, nearest-exact: a signal, and the same signal as an image of one row.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$place"
venv/bin/python - <<'PROGRAM'
import sys
from fractions import Fraction

import torch
from torch.nn import functional as F

signal = torch.tensor([0.0, 1.0])
print(f"torch {torch.__version__}; [0, 1] to more samples with mode='nearest-exact'")
found = {}
for size in (40, 41, 47, 55, 83):
    as_signal = F.interpolate(signal[None, None], size=size, mode="nearest-exact").flatten()
    as_image = F.interpolate(signal[None, None, None], size=(1, size), mode="nearest-exact").flatten()
    different = (as_signal != as_image).nonzero().flatten().tolist()
    found[size] = [(place, as_signal[place].item(), as_image[place].item()) for place in different]
    print(f"{size} samples: " + ("the same" if not different else f"sample {different[0]} is "
          f"{as_signal[different[0]]:.0f} of (1, 1, 2) and {as_image[different[0]]:.0f} of (1, 1, 1, 2)"))
    for place in different:  # the middle of the new sample, in old samples
        assert (Fraction(2 * place + 1, 2) * 2 / size) == 1
print("There the middle of the new sample is exactly the border of the two, so that 1 is right, as the floor of it.")
print("One would expect one answer, whatever the number of axes.")
if found != {40: [], 41: [(20, 1.0, 0.0)], 47: [(23, 1.0, 0.0)], 55: [(27, 1.0, 0.0)], 83: [(41, 1.0, 0.0)]}:
    sys.exit("this is no longer so")
PROGRAM
