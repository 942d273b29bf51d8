"""Who writes C for fitted models: each is one class, whose `write` makes sources with one function in them.

That function is `int32_t classify(const T *x)`: the index of a sample's class. `T` is what the writer's own
documentation has its C read. Where the C gives scores alone, what picks the class is added here.
"""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.ensemble import BaseEnsemble
from sklearn.tree import BaseDecisionTree

from mcubench.baselines.rounded import Form, round_estimator
from mcubench.codegen import generate

__all__ = ["ENTRY", "Emlearn", "Environment", "M2cgen", "Micromlgen", "Own", "Peer", "Program", "UnsupportedError"]

ENTRY = "classify"
_PACKAGES = ("emlearn==0.23.2", "m2cgen==0.10.0", "micromlgen==1.1.28")


_FEW_FEATURES = 100


class UnsupportedError(Exception):
    """A writer refuses a model; says why."""


@dataclass(frozen=True)
class Program:
    """A model in C.

    Attributes:
        sources: Its files, C or C++.
        reads: C's name of the type of its features.
        includes: Folders of headers.
        codes: What it reads for each brightness from 0 to 255, if that is not the brightness.
    """

    sources: tuple[Path, ...]
    reads: str
    includes: tuple[Path, ...] = ()
    codes: NDArray[Any] | None = None

    def features(self, x: NDArray[np.uint8]) -> bytes:
        """Brightnesses as it reads them."""
        return (x if self.codes is None else self.codes[x]).astype(self.dtype).tobytes()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its features."""
        return np.dtype({"float": np.float32, "double": np.float64}.get(self.reads, self.reads.removesuffix("_t")))


class Peer(Protocol):
    """Who writes C for fitted models."""

    @property
    def name(self) -> str:
        """As tables have it."""

    def concerns(self, estimator: Any) -> bool:
        """Whether a table has a row of it for a model, if only to say that it is refused."""

    def write(self, estimator: Any, folder: Path) -> Program:
        """Writes a model.

        Args:
            estimator: Fitted by scikit-learn.
            folder: An empty folder, for all files.

        Raises:
            UnsupportedError: If it can't.
        """


class Environment:
    """An environment with the others' packages and this process's scikit-learn; one process in it writes all models.

    Args:
        folder: A folder for it.
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        python = folder / "bin" / "python"
        pinned = [*_PACKAGES, f"scikit-learn=={sklearn.__version__}", f"numpy=={np.__version__}"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned], check=True)
        words = [python, "-W", "ignore", "-c", _WRITER]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def write(self, package: str, estimator: Any, folder: Path, **options: Any) -> str:
        """Has a package write `model.h` into a folder; the folder of the package's own headers.

        Raises:
            UnsupportedError: If it refuses.
        """
        joblib.dump(estimator, folder / "estimator.joblib")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([package, str(folder), options]), file=self._process.stdin, flush=True)
        error, headers = json.loads(self._process.stdout.readline())
        if error:
            raise UnsupportedError(error)
        return str(headers)


@dataclass(frozen=True)
class Emlearn:
    """Emlearn: integers of 16 bits for trees and neighbours, ``float`` for the rest.

    Attributes:
        environment: What it is installed in.
        method: ``inline`` or ``loadable``.
        closest: Whether trees get what is closest to scikit-learn: ``float``, and probabilities of 8 bits in leaves.
            As is its default, they otherwise compare 16-bit integers, and vote with their classes.
    """

    environment: Environment
    method: str
    closest: bool = False

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"emlearn, {self.method}" + (", float" if self.closest else "")

    def concerns(self, estimator: Any) -> bool:
        """Trees alone can be had in two ways."""
        return not self.closest or isinstance(estimator, (BaseDecisionTree, BaseEnsemble))

    def write(self, estimator: Any, folder: Path) -> Program:
        """Writes a model."""
        options = {"dtype": "float", "leaf_bits": 8} if self.closest else {}
        headers = self.environment.write("emlearn", estimator, folder, method=self.method, **options)
        kind, features = type(estimator).__name__, estimator.n_features_in_
        reads = "float" if self.closest or kind in ("GaussianNB", "MLPClassifier") else "int16_t"
        if kind == "KNeighborsClassifier":
            stored = len(estimator._fit_X)
            call = (
                f"    static EmlNeighborsDistanceItem distances[{stored}];\n    int16_t found = -1;\n"
                f"    eml_neighbors_predict(&model, x, {features}, distances, {stored}, &found);\n    return found;"
            )
        else:
            call = f"    return model_predict(x, {features});"
        return Program((_source(folder / "model.c", reads, call),), reads, (Path(headers),))


@dataclass(frozen=True)
class M2cgen:
    """M2cgen: ``double``, and scores.

    Attributes:
        environment: What it is installed in.
    """

    environment: Environment
    name: str = "m2cgen"

    def concerns(self, estimator: Any) -> bool:
        """All models but a forest of 784 features, whose C takes gcc five minutes a core."""
        return not (isinstance(estimator, BaseEnsemble) and estimator.n_features_in_ > _FEW_FEATURES)

    def write(self, estimator: Any, folder: Path) -> Program:
        """Writes a model."""
        self.environment.write("m2cgen", estimator, folder)
        classes = len(estimator.classes_)
        if "double score(" in (folder / "model.h").read_text():
            call = "    return score((double *)x) > 0;"
        elif type(estimator).__name__ == "SVC":
            call = _VOTE.format(pairs=classes * (classes - 1) // 2, classes=classes)
        else:
            call = _LARGEST.format(classes=classes)
        return Program((_source(folder / "model.c", "double", call),), "double")


@dataclass(frozen=True)
class Micromlgen:
    """Micromlgen: a class in C++ that reads ``float``.

    Attributes:
        environment: What it is installed in.
    """

    environment: Environment
    name: str = "micromlgen"

    def concerns(self, estimator: Any) -> bool:
        """All models."""
        return True

    def write(self, estimator: Any, folder: Path) -> Program:
        """Writes a model."""
        self.environment.write("micromlgen", estimator, folder)
        call = "    Eloquent::ML::Port::Model model;\n    return model.predict((float *)x);"
        return Program((_source(folder / "model.cpp", "float", call, 'extern "C" '),), "float")


@dataclass(frozen=True)
class Own:
    """This project: in the narrowest numbers that change no answer of a tree here, or in float32.

    Attributes:
        form: ``int8`` or ``float32``.
        samples: Training samples that ranges are taken from, by their number of features.
    """

    form: Form
    samples: Mapping[int, NDArray[Any]]

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"mcubench, {self.form}"

    def concerns(self, _estimator: Any) -> bool:
        """All models."""
        return True

    def write(self, estimator: Any, folder: Path) -> Program:
        """Writes a model, with memory that is lent to it."""
        brightnesses = np.arange(256.0, dtype=np.float32)
        samples = self.samples[estimator.n_features_in_].astype(np.float32)
        graph = round_estimator(estimator, self.form, samples).on_device()
        project = generate(graph, "model")
        for name in (project.header, project.source):
            (folder / name).write_text(project.files[name])
        output = graph.outputs[0]
        call = (
            f"    static int32_t arena[MODEL_ARENA_BYTES / 4 + 1];\n    {output.ctype} y[MODEL_OUTPUT_SIZE];\n"
            f"    int32_t best = 0;\n    model_run(arena, x, y);\n{_DECISIONS[graph.decision]}\n    return best;"
        )
        reads = graph.inputs[0].ctype
        source = _source(folder / "classify.c", reads, call.replace("$zero", str(output.grid.zero_point)))
        codes = graph.inputs[0].grid.codes(torch.from_numpy(brightnesses)).numpy()
        return Program((source, folder / project.source), reads, (folder,), codes)


# What picks the class, of the numbers that a model gives.
_DECISIONS = {
    "largest": "    for (int32_t i = 1; i < MODEL_OUTPUT_SIZE; i++)\n        best = y[i] > y[best] ? i : best;",
    "positive": "    best = y[0] > $zero;",
    "class": "    best = y[0];",
}


def _source(path: Path, reads: str, call: str, before: str = "") -> Path:
    """The file that has the model's header in it, and the function that is called."""
    lines = ["#include <math.h>", "#include <stdint.h>", "#include <string.h>", '#include "model.h"']
    lines += [f"{before}int32_t {ENTRY}(const {reads} *x)", "{", call, "}", ""]
    path.write_text("\n".join(lines))
    return path


# What the process runs. m2cgen's expressions are as deep as its sums are long.
_WRITER = """
import contextlib, json, pathlib, sys
import emlearn, joblib, m2cgen, micromlgen

sys.setrecursionlimit(100_000)

def written(package, estimator, options):
    if package == "m2cgen":
        return m2cgen.export_to_c(estimator)
    if package == "micromlgen":
        return micromlgen.port(estimator, classname="Model")
    saved = {"inference": [options["method"]]} if type(estimator).__name__ == "MLPClassifier" else {}
    return emlearn.convert(estimator, **options).save(name="model", **saved)

for line in sys.stdin:
    package, folder, options = json.loads(line)
    folder, error = pathlib.Path(folder), None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            text = written(package, joblib.load(folder / "estimator.joblib"), options)
        (folder / "model.h").write_text(text)
    except Exception as refused:
        error = f"{type(refused).__name__}: {refused}"
    print(json.dumps([error, str(pathlib.Path(emlearn.__file__).parent)]), flush=True)
"""
_LARGEST = """\
    double scores[{classes}];
    int32_t best = 0;
    score((double *)x, scores);
    for (int32_t i = 1; i < {classes}; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;"""
# Each pair of classes votes; of those with most votes the first, as libsvm has it.
_VOTE = """\
    double pairs[{pairs}], *pair = pairs;
    int32_t votes[{classes}] = {{0}}, best = 0;
    score((double *)x, pairs);
    for (int32_t i = 0; i < {classes}; i++)
        for (int32_t j = i + 1; j < {classes}; j++)
            votes[*pair++ > 0 ? i : j]++;
    for (int32_t i = 1; i < {classes}; i++)
        if (votes[i] > votes[best])
            best = i;
    return best;"""
