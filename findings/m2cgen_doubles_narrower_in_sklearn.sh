#!/usr/bin/env bash
# m2cgen: whether a tree's C answers as scikit-learn where features are doubles.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check m2cgen==0.10.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$place"
venv/bin/python -W ignore - <<'PROGRAM'
import ctypes
import pathlib
import subprocess
import sys
from importlib.metadata import version

import m2cgen
import numpy as np
from sklearn.tree import DecisionTreeRegressor

# A sensor's readings in steps of 0.1, none of which a double holds exactly; the value is the number of steps.
steps = np.arange(1, 2001)
x = steps[:, None] / 10
tree = DecisionTreeRegressor(random_state=0).fit(x[::2], steps[::2])
pathlib.Path("tree.c").write_text(m2cgen.export_to_c(tree))
subprocess.run(["cc", "-O1", "-shared", "-fPIC", "tree.c", "-o", "tree.so"], check=True)
score = ctypes.CDLL("./tree.so").score
score.restype = ctypes.c_double


def ours(row):
    return score(row.ctypes.data_as(ctypes.POINTER(ctypes.c_double)))


wanted = tree.predict(x)
found = np.array([ours(row) for row in x])
narrowed = np.array([ours(row) for row in x.astype(np.float32).astype(np.float64)])
print(f"m2cgen {version('m2cgen')}, scikit-learn {version('scikit-learn')}: a tree of {tree.tree_.node_count} nodes on 2,000 readings 0.1, 0.2, ...")
print(f"C given the same doubles: as scikit-learn on {(found == wanted).sum()} of {len(x)}")
print(f"C given them rounded to single precision: as scikit-learn on {(narrowed == wanted).sum()} of {len(x)}")
worst = np.abs(found - wanted).argmax()
print(f"e.g. {x[worst, 0]!r}: {wanted[worst]} by scikit-learn, {found[worst]} by the C")
print("One would expect doubles to be the safe choice. scikit-learn rounds features to single precision before it compares them.")
if (narrowed != wanted).any() or (found == wanted).all():
    sys.exit("this is no longer so")
PROGRAM
