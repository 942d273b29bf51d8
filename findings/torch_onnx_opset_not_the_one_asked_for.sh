#!/usr/bin/env bash
# torch.onnx.export and an operator set that it does not come to.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2
cd "$place"
venv/bin/python - <<'PROGRAM'
import logging
import sys
import warnings

import onnx
import onnxscript
import torch
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
print(f"torch {torch.__version__}, onnx {onnx.__version__}, onnxscript {onnxscript.__version__}")
print("a convolution, ReLU, flatten and a dense layer, which opset 13 has all")
found = {}
for opset in (13, 18, 20):
    name = f"net{opset}.onnx"
    torch.onnx.export(net, (torch.zeros(1, 1, 8, 8),), name, opset_version=opset, dynamo=True, verbose=False)
    model = onnx.load(name)
    found[opset] = next(each.version for each in model.opset_import if not each.domain)
    operators = ", ".join(node.op_type for node in model.graph.node)
    print(f"export(opset_version={opset}) raises nothing; the file says opset {found[opset]}: {operators}")
print("One would expect a file of opset 13, or an error.")
if found != {13: 18, 18: 18, 20: 20}:
    sys.exit("this is no longer so")
PROGRAM
