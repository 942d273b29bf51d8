"""Runs an exported model on raw samples: numpy and an interpreter, no mcubench and no PyTorch.

    python examples/run_tflite.py runs/20261122-120807-CNN-MNIST/export/model.json samples.npy

``samples.npy`` holds raw samples (N, *shape) in the units that ``model.json`` names; a class is printed for each.
With ``litert`` behind it, LiteRT runs the model instead of TFLite Micro.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def scaled(x: np.ndarray, scaling: dict[str, Any]) -> np.ndarray:
    """Raw samples as the model was trained on them, float32."""
    if scaling["kind"] == "standardise":  # a mean and a deviation for each channel
        mean, std = (np.float32(scaling[key]).reshape(-1, *(1,) * (x.ndim - 2)) for key in ("mean", "std"))
        return np.subtract(x, mean, dtype=np.float32) / std
    if scaling["kind"] == "range":  # a smallest and a largest value for each feature
        low, high = np.array(scaling["minimum"]), np.array(scaling["maximum"])
        return (2 * (x - low) / np.where(high > low, high - low, 1) - 1).astype(np.float32)
    assert scaling["kind"] == "none", "the data did not say how it scales samples"
    return x.astype(np.float32)


def codes(x: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Scaled samples as int8, in the order of axes that the model reads."""
    if tensor["permutation"]:
        x = x.transpose(tensor["permutation"])
    rounded = np.round(x.astype(np.float64) / tensor["scale"]) + tensor["zero_point"]
    return np.clip(rounded, -128, 127).astype(np.int8).reshape(-1, *tensor["shape"][1:])


def tflite_micro(model: bytes, card: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """TFLite Micro, with an arena of just the size that it starts in."""
    from tflite_micro.python.tflite_micro import runtime

    recorded = card["arena"]["recorded"]
    size = {} if recorded is None else {"arena_size": recorded["smallest"]}
    interpreter = runtime.Interpreter.from_bytes(model, **size)

    def run(sample: np.ndarray) -> np.ndarray:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        return interpreter.get_output(0)

    return run


def litert(model: bytes, _card: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """LiteRT, with its reference kernels: those that it takes by default round otherwise."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    read, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(sample: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(read, sample[None])
        interpreter.invoke()
        return interpreter.get_tensor(made)

    return run


def main(manifest: str, samples: str, engine: str = "tflite_micro") -> None:
    """Prints a class for each sample."""
    card = json.loads(Path(manifest).read_text())
    file = card["files"]["tflite"]
    model = Path(manifest).with_name(file["name"]).read_bytes()
    run = {"tflite_micro": tflite_micro, "litert": litert}[engine](model, card)
    for sample in codes(scaled(np.load(samples), card["sample"]["scaling"]), file["input"]):
        best = int(run(sample).argmax())
        print(best if card["class_names"] is None else card["class_names"][best])


if __name__ == "__main__":
    main(*sys.argv[1:])
