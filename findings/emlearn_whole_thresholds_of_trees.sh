#!/usr/bin/env bash
# emlearn: what a fitted tree's C does at whole numbers, with the type of features that it takes by default.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check emlearn==0.23.2 scikit-learn==1.9.1 numpy==2.4.6
cd "$place"
cat > convert.py <<'PROGRAM'
import json
from importlib.metadata import version

import emlearn
import numpy as np
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

x, y = load_digits(return_X_y=True)
assert (x == np.rint(x)).all()  # brightnesses from 0 to 16, which 16-bit integers hold exactly
tree = DecisionTreeClassifier(random_state=0).fit(x[:1000], y[:1000])
for kind in ("int16_t", "float"):
    emlearn.convert(tree, method="inline", dtype=kind).save(file=f"{kind}.h", name="model")
with open("samples.txt", "w") as file:
    for row in x[1000:].astype(int):
        print(*row, file=file)
root = tree.tree_.feature[0], tree.tree_.threshold[0]
facts = {"wanted": tree.predict(x[1000:]).tolist(), "labels": y[1000:].tolist(), "root": [int(root[0]), float(root[1])]}
facts["versions"] = f"emlearn {version('emlearn')}, scikit-learn {version('scikit-learn')}"
json.dump(facts, open("facts.json", "w"))
PROGRAM
cat > main.c <<'PROGRAM'
#include <stdio.h>
#include MODEL
int main(void)
{
    KIND x[64];
    int value, n = 0;
    while (scanf("%d", &value) == 1) {
        x[n++] = value;
        if (n == 64) {
            printf("%d\n", (int)model_predict(x, n));
            n = 0;
        }
    }
    return 0;
}
PROGRAM
venv/bin/python -W ignore convert.py
for kind in int16_t float; do
    cc -O1 -w "-DMODEL=\"$kind.h\"" "-DKIND=$kind" main.c -o "$kind"
    "./$kind" < samples.txt > "$kind.txt"
done
venv/bin/python - <<'PROGRAM'
import json
import re
import sys

import numpy as np

facts = json.load(open("facts.json"))
wanted, labels = np.array(facts["wanted"]), np.array(facts["labels"])
found = {kind: np.loadtxt(f"{kind}.txt", int) for kind in ("int16_t", "float")}
first = {kind: re.search(r"if \((.*?)\)", open(f"{kind}.h").read()).group(1) for kind in found}
print(f"{facts['versions']}: a tree fitted to 1,000 of scikit-learn's digits, whose features are whole numbers")
print(f"root in scikit-learn: features[{facts['root'][0]}] <= {facts['root'][1]}")
for kind, answers in found.items():
    note = " (the default)" if kind == "int16_t" else ""
    print(f"root in C, dtype {kind}{note}: {first[kind]}")
    print(f"  as scikit-learn on {(answers == wanted).sum()} of {len(wanted)} test samples; right on {100 * (answers == labels).mean():.1f} %")
print(f"right by scikit-learn: {100 * (wanted == labels).mean():.1f} %")
print("One would expect 16-bit integers to be enough for features that are small whole numbers. x <= 2.5 is x < 3, but is written as")
print("x < 2: thresholds lose their fraction, and <= its equal sign. With float the latter is left, at thresholds that are whole.")
if not (found["int16_t"] == wanted).mean() < 0.9 < (found["float"] == wanted).mean() < 1:
    sys.exit("this is no longer so")
PROGRAM
