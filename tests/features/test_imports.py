"""Features need numpy and scipy alone: what a fresh process has loaded behind the import."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"torch", "lightning", "pytorch_lightning", "sklearn", "keras", "tensorflow", "matplotlib", "torchvision"}


def loaded(module: str) -> set[str]:
    """Top-level packages in a fresh process."""
    code = f"import {module}, json, sys; print(json.dumps(sorted(name.split('.')[0] for name in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_features_are_light() -> None:
    found = loaded("mcubench.features")
    assert {"numpy", "scipy"} <= found
    assert not found & HEAVY


def test_what_is_heavy_would_be_seen() -> None:
    assert loaded("mcubench.features, matplotlib") & HEAVY == {"matplotlib"}
