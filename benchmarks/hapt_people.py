"""Why validation and test differ on HAPT: whom a model does not know, what it confuses, and what a choice is worth.

    python -m benchmarks.hapt_people [--root PATH] [--jobs 2] --write docs/hapt_people.md

Three questions, with pictures beside the page. Who: each of the 30 people is left out in turn, and a network on raw
windows is trained on others. How much is luck: the authors' nine test people beside other nine, drawn at random. What
a choice is worth: small networks on features, chosen by one validation part and by the mean over folds of people, and
what that comes to on the test set. Training is of a fixed length, and nothing else is chosen.
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import track
from scipy import stats

from benchmarks.command_line import page_command, show
from benchmarks.tables import interval, table
from mcubench.datamodules import HAPT
from mcubench.files import atomic_path
from mcubench.models import MLP, Classifier, CNN1d
from mcubench.results.evaluation import score

import lightning.pytorch as pl  # isort: skip  # after mcubench, which mends torchvision where that is needed

PEOPLE = range(1, 31)
OFFICIAL = (2, 4, 9, 10, 12, 13, 18, 20, 24)  # subject_id_test.txt
DRAWS, FOLDS, EPOCHS = 10, 7, 10
WIDTHS, FEATURES = (4, 8, 16, 32), (10, 20, 40, 80, 160)
TRANSITIONS = range(6, 12)


@dataclass(frozen=True)
class Trained:
    """What a network comes to.

    Attributes:
        val: Accuracy of validation, in percent.
        test: Of the test set.
        confusion: Of the test set, rows are the true classes.
    """

    val: float
    test: float
    confusion: NDArray[np.int64]


def trained(model: type[Classifier], options: dict[str, Any], root: Path | None, **data: Any) -> Trained:
    """Trains once, with seed 0."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    pl.seed_everything(0, verbose=False)
    module = HAPT(root=None if root is None else str(root), **data)
    net = model(module.input_shape, module.num_classes, **options)
    trainer = pl.Trainer(
        **{"max_epochs": EPOCHS, "accelerator": "cpu", "limit_val_batches": 0, "logger": False},
        **{"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False},
    )
    trainer.fit(net, module)
    val, test = (score(net, module.whole(part), module.num_classes, torch.device("cpu")) for part in ("val", "test"))  # type: ignore[arg-type]
    return Trained(100 * val.accuracy, 100 * test.accuracy, test.confusion)


def tested_on(people: Sequence[int], root: Path | None) -> Trained:
    """A network on raw windows that was trained on others."""
    return trained(CNN1d, {}, root, test_subjects=[*people])


def chosen_from(place: tuple[int, int, int], root: Path | None) -> Trained:
    """A network on features, and one of its folds."""
    width, features, fold = place
    return trained(MLP, {"hidden": [width]}, root, inputs="features", k_best=features, folds=FOLDS, fold=fold)


def who(left_out: dict[int, Trained], draws: list[Trained], folder: Path | None) -> dict[str, str]:
    """The people, the luck of a draw, and the classes."""
    each = {person: found.test for person, found in left_out.items()}
    inside, outside = ([each[p] for p in PEOPLE if (p in OFFICIAL) == official] for official in (True, False))
    official, others = draws[0].test, [found.test for found in draws[1:]]
    worst = sorted(each, key=lambda person: each[person])[:5]
    rows = [
        ("each person left out, mean of 30", interval([*each.values()])),
        ("of these, the authors' 9 test people", interval(inside)),
        ("of these, their 21 training people", interval(outside)),
        ("the worst five", ", ".join(f"{person}: {each[person]:.1f}" for person in worst)),
        ("the authors' 9 together, trained on others of the 21", f"{official:.2f}"),
        (f"9 people drawn at random, {DRAWS} draws", interval(others)),
        ("their least and most", f"{min(others):.2f} to {max(others):.2f}"),
    ]
    confusion = sum((found.confusion for found in left_out.values()), np.zeros((12, 12), np.int64))
    names = HAPT().class_names
    classes = []
    for index, name in enumerate(names):
        wrong = confusion[index].copy()
        wrong[index] = 0
        most = int(wrong.argmax())
        taken = f"{names[most]} ({100 * wrong[most] / wrong.sum():.0f} % of them)" if wrong.sum() else "nothing"
        right = 100 * confusion[index, index] / confusion[index].sum()
        share = 100 * wrong.sum() / (confusion.sum() - np.trace(confusion))
        classes.append((name, f"{confusion[index].sum():,}", f"{right:.1f}", f"{share:.1f}", taken))
    if folder is not None:
        draw_people(each, folder / "hapt-people.png")
    head = "class | windows: | right [%]: | share of all errors [%]: | most often taken for"
    return {"people": table("tested on | accuracy [%]:", rows), "classes": table(head, classes)}


def choices(found: dict[tuple[int, int, int], Trained], folder: Path | None) -> dict[str, str]:
    """What a choice by validation comes to on the test set."""
    configurations = [(width, features) for width in WIDTHS for features in FEATURES]
    val, test = (
        np.array([[getattr(found[(*each, fold)], part) for fold in range(FOLDS)] for each in configurations])
        for part in ("val", "test")
    )
    mean_test = test.mean(1)
    best = mean_test.max()
    single = [best - mean_test[val[:, fold].argmax()] for fold in range(FOLDS)]
    ranks = [float(stats.spearmanr(val[:, fold], mean_test).statistic) for fold in range(FOLDS)]
    by_mean = best - mean_test[val.mean(1).argmax()]
    rank_of_mean = float(stats.spearmanr(val.mean(1), mean_test).statistic)
    gap = (val - test).mean(0)
    rows = [
        (f"one of {FOLDS} validation parts (3 people)", interval(single), interval(ranks), interval([*gap])),
        (f"the mean over {FOLDS} folds", f"{by_mean:.2f}", f"{rank_of_mean:.2f}", f"{gap.mean():.2f}"),
        ("nobody: the mean of all", f"{best - mean_test.mean():.2f}", "", ""),
    ]
    if folder is not None:
        draw_choices(val, mean_test, folder / "hapt-choices.png")
    head = "chosen by | lost on the test set [points]: | rank correlation with the test: | validation - test [points]:"
    return {"choices": table(head, rows)}


def draw_people(each: dict[int, float], target: Path) -> None:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    order = sorted(each, key=lambda person: each[person])
    for official, colour, hatch in ((False, "tab:blue", ""), (True, "tab:orange", "//")):
        places = [place for place, person in enumerate(order) if (person in OFFICIAL) == official]
        label = "authors' test set" if official else "authors' training set"
        axes.bar(places, [each[order[place]] for place in places], color=colour, hatch=hatch, label=label)
    axes.set(xlabel="person that was left out", ylabel="accuracy [%]", ylim=(min(each.values()) - 5, 100))
    axes.set_xticks(range(len(order)), map(str, order), fontsize=7)
    axes.legend(loc="upper left")
    _save(figure, target)


def draw_choices(val: NDArray[np.float64], test: NDArray[np.float64], target: Path) -> None:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for fold in range(FOLDS):
        label = "one validation part" if fold == 0 else None
        axes.plot(val[:, fold], test, ".", color="tab:grey", markersize=4, label=label)
    axes.plot(val.mean(1), test, "o", color="tab:blue", label=f"mean over {FOLDS} folds")
    axes.axline((test.mean(), test.mean()), slope=1, color="black", linewidth=0.5, linestyle="--")
    axes.set(xlabel="validation accuracy [%]", ylabel="test accuracy [%]")
    axes.legend()
    _save(figure, target)


def _save(figure: Figure, target: Path) -> None:
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def run(options: argparse.Namespace) -> int:
    random = np.random.default_rng(0)
    groups = [OFFICIAL, *(sorted(random.choice(PEOPLE, 9, replace=False).tolist()) for _ in range(DRAWS))]
    places = [(width, features, fold) for width in WIDTHS for features in FEATURES for fold in range(FOLDS)]
    with ProcessPoolExecutor(options.jobs) as pool:
        alone = pool.map(functools.partial(tested_on, root=options.root), [[person] for person in PEOPLE])
        left_out = dict(zip(PEOPLE, track(alone, total=len(PEOPLE), description="people"), strict=True))
        drawn = pool.map(functools.partial(tested_on, root=options.root), groups)
        draws = list(track(drawn, total=len(groups), description="draws"))
        small = pool.map(functools.partial(chosen_from, root=options.root), places)
        found = dict(zip(places, track(small, total=len(places), description="choices"), strict=True))
    folder = None if options.write is None else options.write.parent
    show(options, who(left_out, draws, folder) | choices(found, folder))
    return 0


if __name__ == "__main__":
    sys.exit(
        page_command(run, __doc__, lambda parser: parser.add_argument("--jobs", type=int, default=2, help="processes"))
    )
