"""Classical models and small nets on HAPT's features: validation by random windows, by subject, and the test set.

    python -m benchmarks.hapt_models [--root PATH] [--draws 5] [--jobs 2] [--write docs/hapt.md]

Plain scikit-learn with its defaults, unless the table says otherwise. Each draw holds a fifth of the training set out
for validation: random windows, or the windows of a fifth of its 21 people. The test set is that of the data set's
authors; for it, models are trained on all training windows. Nothing is chosen by either. Features are scaled to [-1, 1]
by the ranges of what a model is trained on (train), or of training and test windows together (published; it leaks).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs by its path

import joblib
import numpy as np
import sklearn
from rich.progress import track
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from benchmarks.command_line import exit_code
from benchmarks.tables import interval, table, write_tables
from mcubench.datamodules import HAPT
from mcubench.datamodules.base import Arrays
from mcubench.datamodules.hapt_archive import find_or_fetch
from mcubench.datamodules.hapt_features import source_of
from mcubench.datamodules.scaling import MinMax
from mcubench.datamodules.splits import Split

EPOCHS = 60
KINDS = ("random", "subject")


def net(width: int) -> Callable[[int], Any]:
    return lambda seed: MLPClassifier((width,), max_iter=EPOCHS, random_state=seed)


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        name: As the table has it.
        options: What scikit-learn is called with.
        make: Makes one from a seed.
        seeded: Whether the seed matters.
        published: Whether it is trained with the published scaling too.
    """

    name: str
    options: str
    make: Callable[[int], Any]
    seeded: bool = False
    published: bool = False


MODELS = (
    Model("linear SVM", '`SVC(kernel="linear", C=1)`', lambda _: SVC(kernel="linear", C=1), published=True),
    Model(
        "linear SVM, one against all",
        "`LinearSVC(C=1)`",
        lambda seed: LinearSVC(C=1, random_state=seed),
        published=True,
    ),
    Model("RBF SVM", "`SVC()`", lambda _: SVC()),
    Model("logistic regression", "`max_iter=1000`", lambda _: LogisticRegression(max_iter=1000)),
    Model("decision tree", "", lambda seed: DecisionTreeClassifier(random_state=seed), seeded=True),
    Model("random forest", "100 trees", lambda seed: RandomForestClassifier(random_state=seed), seeded=True),
    Model("MLP(42)", f"{EPOCHS} epochs of Adam", net(42), seeded=True),
    Model("MLP(128)", f"{EPOCHS} epochs of Adam", net(128), seeded=True),
)


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        model: Which of `MODELS`.
        scaling: ``train`` or ``published``.
        judged: On what: ``random`` or ``subject`` validation, or ``test``.
        seed: Of the draw and of the model.
    """

    model: int
    scaling: str
    judged: str
    seed: int


@dataclass(frozen=True)
class Scored:
    """Accuracy and macro-F1 in percent."""

    accuracy: float
    macro_f1: float


def scored(case: Case, full: Arrays, test: Arrays) -> tuple[Case, Scored]:
    train, judged = full, test
    if case.judged != "test":
        split = Split(case.judged, 0.2, None, 0, case.seed)  # type: ignore[arg-type]
        train, judged = (full.take(part) for part in split.indices(full.y, full.subjects))
    over = train.x if case.scaling == "train" else np.concatenate([full.x, test.x])
    scaling = MinMax.fit(over, range(over.shape[1]), case.scaling)
    model = MODELS[case.model].make(case.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the nets end after so many epochs
        model.fit(scaling(train.x), train.y)
    found = model.predict(scaling(judged.x))
    macro = f1_score(judged.y, found, average="macro")
    return case, Scored(100 * float((found == judged.y).mean()), 100 * float(macro))


def gap(scores: dict[Case, Scored]) -> str:
    """Validation minus test, for all models at once."""

    def mean(index: int, judged: str) -> float:
        return statistics.mean(
            each.accuracy
            for case, each in scores.items()
            if (case.model, case.scaling, case.judged) == (index, "train", judged)
        )

    def points(kind: str) -> str:
        found = [mean(index, kind) - mean(index, "test") for index in range(len(MODELS))]
        return f"{min(found):+.1f} to {max(found):+.1f} points ({statistics.mean(found):+.1f} on average)"

    one = next(index for index, model in enumerate(MODELS) if model.name == "MLP(42)")
    return (
        f"Validation by random windows minus test: {points('random')}; validation by other people minus test: "
        f"{points('subject')}. MLP(42): {mean(one, 'random'):.1f} % and {mean(one, 'subject'):.1f} %, "
        f"against {mean(one, 'test'):.1f} % of the test."
    )


def cases_of(draws: int) -> list[Case]:
    found = []
    for index, model in enumerate(MODELS):
        for scaling in ("train", "published")[: 1 + model.published]:
            found += [Case(index, scaling, kind, seed) for kind in KINDS for seed in range(draws)]
            found += [Case(index, scaling, "test", seed) for seed in range(draws if model.seeded else 1)]
    return found


def run(options: argparse.Namespace) -> int:
    begun = time.perf_counter()
    data = HAPT(root=options.root, inputs="features")
    full, test = data.load()
    cases = cases_of(options.draws)
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        pool = joblib.Parallel(n_jobs=options.jobs, return_as="generator_unordered")
        results = pool(joblib.delayed(scored)(case, full, test) for case in cases)
        scores = dict(track(results, description="train", total=len(cases)))

    rows = []
    for index, scaling in dict.fromkeys((case.model, case.scaling) for case in cases):

        def of(judged: str, name: str, index: int = index, scaling: str = scaling) -> str:
            which = [case for case in cases if (case.model, case.scaling, case.judged) == (index, scaling, judged)]
            return interval([getattr(scores[case], name) for case in which])

        model = MODELS[index]
        validation = (of(kind, "accuracy") for kind in KINDS)
        rows.append((model.name, model.options, scaling, *validation, of("test", "accuracy"), of("test", "macro_f1")))
    head = "model | scikit-learn | scaling | random windows: | other people: | test: | test macro-F1:"
    note = (
        f"Percent, mean and 95 % interval (Student's t) over {options.draws} draws, or {options.draws} seeds where a "
        f"test figure has one. Features: {source_of(find_or_fetch(data.root))}. scikit-learn {sklearn.__version__}."
    )
    tables = {"models": f"{table(head, rows)}\n\n{note}", "gap": gap(scores)}
    if options.write:
        write_tables(options.write, tables)
    else:
        print(*tables.values(), sep="\n\n", end="\n\n")
    print(f"{len(cases)} trainings in {time.perf_counter() - begun:.0f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the data root, with HAPT (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--draws", type=int, default=5, help="draws of each kind, and seeds (default: 5)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once (default: 2)")
    parser.add_argument("--write", type=Path, help="put the table between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
