#!/usr/bin/env bash
# What torch.save raises where a file can't grow any more: here by a limit on its size, as on a disk without space.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$place"
venv/bin/python - <<'PROGRAM'
import errno
import resource
import sys

import torch

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
weights = {"weight": torch.zeros(100_000)}


def write(path):
    with open(path, "wb") as file:
        file.write(bytes(400_000))


def save_to_file(path):
    with open(path, "wb") as file:
        torch.save(weights, file)


print(f"torch {torch.__version__}; no file may have more than 100,000 bytes, and the tensor has 400,000")
found = {}
for name, save in (
    ("open(path).write", write),
    ("torch.save(path)", lambda path: torch.save(weights, path)),
    ("torch.save(file)", save_to_file),
):
    try:
        save("weights.pt")
    except Exception as error:
        before = error.__context__
        told = isinstance(error, OSError) and error.errno == errno.EFBIG
        known = told or (isinstance(before, OSError) and before.errno == errno.EFBIG)
        found[name] = told, known
        print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}; the error before it: {before!r}")
print("One would expect an OSError from all three. A path loses what the system said; a file keeps it in __context__.")
expected = {
    "open(path).write": (True, True),
    "torch.save(path)": (False, False),
    "torch.save(file)": (False, True),
}
if found != expected:
    sys.exit("this is no longer so")
PROGRAM
