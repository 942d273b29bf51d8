#!/usr/bin/env bash
# Keras on PyTorch: LayerNormalization over an axis that is not the last.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 keras==3.15.1 numpy==2.4.6
cd "$place"
venv/bin/python - <<'PROGRAM'
import os
import re
import sys

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch

x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
print(f"keras {keras.__version__} on torch {torch.__version__}; LayerNormalization(axis) of an input of shape {x.shape}")
found = {}
for axis in (-1, (1, 2), 1):
    wanted = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-3)
    layer = keras.layers.LayerNormalization(axis=axis if isinstance(axis, int) else list(axis))
    try:
        y = keras.ops.convert_to_numpy(layer(x))
        found[axis] = "right" if np.abs(y - wanted).max() < 1e-5 else "wrong numbers"
        print(f"axis={axis}: {found[axis]}")
    except RuntimeError as error:
        found[axis] = "error"
        plain = re.sub(r"\x1b\[\d+m", "", str(error))
        line = next(each for each in plain.splitlines() if "normalized_shape" in each)
        print(f"axis={axis}: RuntimeError: {line}")
print("axis is documented as an integer or a list of axes to normalise across; one would expect three times right.")
if found != {-1: "right", (1, 2): "right", 1: "error"}:
    sys.exit("this is no longer so")
PROGRAM
