#!/usr/bin/env bash
# Keras 3: its loader of .h5 files refuses layers as Keras 2 writes them, depthwise convolutions and LSTMs among them.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
    tensorflow-cpu==2.21.0 tf_keras==2.21.0 keras==3.15.1 numpy==2.4.6 h5py==3.14.0
cd "$place"
export TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow
venv/bin/python - 2>write.log <<'PROGRAM' || { cat write.log; exit 1; }
import tf_keras
from tf_keras import layers

print(f"tf_keras {tf_keras.__version__} writes models of one layer, each as a .h5, and reads them back")
for name, shape, layer in (
    ("Conv2D", (8, 8, 3), layers.Conv2D(2, 3)),
    ("DepthwiseConv2D", (8, 8, 3), layers.DepthwiseConv2D(3)),
    ("Conv2DTranspose", (8, 8, 3), layers.Conv2DTranspose(2, 3)),
    ("SeparableConv2D", (8, 8, 3), layers.SeparableConv2D(2, 3)),
    ("LSTM", (5, 3), layers.LSTM(2)),
):
    tf_keras.Sequential([layers.Input(shape), layer]).save(f"{name}.h5")
    tf_keras.models.load_model(f"{name}.h5", compile=False)
PROGRAM
venv/bin/python - 2>read.log <<'PROGRAM' || { cat read.log; exit 1; }
import sys

import keras

print(f"keras {keras.__version__} loads them with keras.saving.load_model(path, compile=False):")
found = {}
for name in ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "SeparableConv2D", "LSTM"):
    try:
        keras.saving.load_model(f"{name}.h5", compile=False)
        found[name] = ""
        print(f"{name}: loaded")
    except (TypeError, ValueError) as error:
        found[name] = next(line for line in reversed(str(error).splitlines()) if line.strip())
        print(f"{name}: {type(error).__name__}: {found[name].strip()}")
print("Keras 2 writes 'groups': 1 and 'time_major': False, which are the defaults; one would expect five times loaded.")
refused = {name for name, line in found.items() if "groups" in line or "time_major" in line}
if found["Conv2D"] or refused != set(found) - {"Conv2D"}:
    sys.exit("this is no longer so")
PROGRAM
