"""HAPT's 561 features, computed from the recordings, against original rows of the published matrix.

    python -m benchmarks.hapt_features                              # agreement; exit code 1 if it is not good enough
    python -m benchmarks.hapt_features --conventions --copies --cost --plot docs --write docs/hapt.md

The features are always computed anew here, and nothing is cached. Published values are scaled to [-1, 1] over training
and test windows together; so are ours before values are compared. The conventions, one wrong at a time, are in
hapt_conventions.py.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs by its path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from scipy import signal

from benchmarks.command_line import exit_code
from benchmarks.hapt_conventions import CONVENTIONS
from benchmarks.hapt_costs import cost_tables
from benchmarks.tables import table, write_tables
from mcubench.datamodules.hapt_archive import HaptArchive, find_or_fetch
from mcubench.datamodules.hapt_windows import Recording, Walk, each_recording, part_labels
from mcubench.datamodules.roots import data_root
from mcubench.errors import MissingDataError, UserError
from mcubench.features import WINDOW, Column, columns, original, recording_features
from mcubench.features.conditioning import CHANNELS, NOISE, RATE, Conditioner
from mcubench.features.statistics import spectrum
from mcubench.files import atomic_path

Array = NDArray[np.float64]

CORRELATION, DIFFERENCE = 0.999999, 1e-6  # what must be reached
NEARLY = 0.99999  # features that correlate by more are as good as one


@dataclass(frozen=True)
class Reference:
    """Original rows.

    Attributes:
        rows: Which of X_train they are, from 0.
        values: Shape (rows, 561).
    """

    rows: NDArray[np.int64]
    values: Array

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Reads a CSV file: a row of X_train counted from 1, then its 561 values."""
        if not path.is_file():
            raise MissingDataError(f"{path} is missing: original rows of X_train; name a file of them with --rows")
        try:
            table = np.loadtxt(path, delimiter=",", ndmin=2)
        except ValueError as error:
            raise UserError(f"{path} is not a table of numbers: {error}") from None
        if table.shape[1] != 1 + len(columns()) or len(table) < 2 or not np.isfinite(table).all():
            raise UserError(f"{path} must have two rows or more of {1 + len(columns())} finite numbers each")
        rows = table[:, 0].astype(np.int64) - 1
        if not 0 <= rows.min() <= rows.max() < 7767 or (rows + 1 != table[:, 0]).any():
            raise UserError(f"{path}: its first column must be rows of X_train, 1 to 7767")
        return cls(rows, table[:, 1:])


@dataclass(frozen=True)
class Recordings:
    """All recordings, and which of their windows are whose.

    Attributes:
        recordings: With their samples.
        training: Where the training windows stand among all, shape (7767,).
    """

    recordings: list[Recording]
    training: NDArray[np.int64]

    @classmethod
    def of(cls, archive: HaptArchive) -> Recordings:
        """Reads a copy of HAPT."""
        walk = Walk.of(archive)
        recordings = list(each_recording(archive, walk, "read HAPT's recordings"))
        return cls(recordings, np.flatnonzero(np.isin(walk.subjects, part_labels(archive, "Train")[1])))

    def features(self, compute: Callable[[Recording], Array], recordings: Iterable[Recording]) -> Array:
        """Features of some recordings' windows, in their place among all; NaN elsewhere."""
        found = np.full((sum(len(each.rows) for each in self.recordings), len(columns())), np.nan)
        for each in recordings:
            found[each.rows] = compute(each)
        return found


def correlations(ours: Array, theirs: Array) -> Array:
    """Of each column; NaN where one of both is constant or not finite."""
    a, b = ours - ours.mean(0), theirs - theirs.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r: Array = (a * b).sum(0) / np.sqrt(np.square(a).sum(0) * np.square(b).sum(0))
    return r


def scaled(x: Array, over: Array) -> Array:
    low, high = over.min(0), over.max(0)
    found: Array = 2 * (x - low) / (high - low) - 1
    return found


def shown(r: float) -> str:
    """A coefficient, by what it lacks where that is little."""
    if np.isnan(r):
        return "undefined"
    return f"{r:.6f}" if r < CORRELATION else f"1 - {max(1 - r, 0):.0e}"


def agreement(features: Array, data: Recordings, reference: Reference) -> tuple[dict[str, str], bool]:
    """The tables by statistic and by signal with the verdict, and whether the target is met."""
    training = features[data.training]
    ours = training[reference.rows]
    r = correlations(ours, reference.values)
    apart = np.abs(scaled(ours, features) - reference.values)
    off = apart.max(0)
    whole = np.abs(reference.values) >= 1e-4  # smaller ones have three digits in the file, these nine decimals
    leaking = np.abs(scaled(ours, training) - reference.values).max(0)

    def row(name: str, chosen: Sequence[Column]) -> tuple[str, int, str, str]:
        places = [column.index for column in chosen]
        return name, len(places), shown(r[places].min()), f"{off[places].max():.0e}"

    def grouped(by: Callable[[Column], str]) -> list[tuple[str, int, str, str]]:
        names = dict.fromkeys(map(by, columns()))
        return [row(name, [column for column in columns() if by(column) == name]) for name in names]

    constant = np.ptp(reference.values, axis=0) == 0  # few rows may leave r undefined; the difference tells
    good = ((r >= CORRELATION) | constant) & (off <= DIFFERENCE)
    numbers = "columns: | worst r: | worst difference:"
    groups = [grouped(lambda column: column.statistic), grouped(lambda column: column.signal)]
    blank = ("", "", "", "")
    rows = [(*one, *other) for one, other in itertools.zip_longest(*groups, fillvalue=blank)]
    rows.append((*row("all", columns()), *blank))
    lines = [
        f"{good.sum()} of {len(good)} features have r >= {CORRELATION} and differ by at most {DIFFERENCE:.0e}, over "
        f"{len(reference.rows)} original rows ({reference.rows.min() + 1} to {reference.rows.max() + 1} of X_train): "
        f"the target is {'met' if good.all() else 'missed'}.",
        *(
            f"- {columns()[index].name}: r {shown(r[index])}, difference {off[index]:.1e}"
            for index in np.flatnonzero(~good)
        ),
        f"Where the file has nine decimals, no value differs by more than {apart[whole].max():.1e} (rounding: 5e-10); "
        f"{(~whole).sum()} values below 1e-4 have three digits there, and differ by up to "
        f"{apart.max(where=~whole, initial=0):.1e}.",
        f"Scaled by the ranges of training windows alone, {(leaking > DIFFERENCE).sum()} features would differ by more "
        f"than {DIFFERENCE:.0e}, by up to {leaking.max():.2f}.",
    ]
    found = {
        "verdict": "\n".join(lines),
        "agreement": table(f"statistic | {numbers} | signal | {numbers}", rows),
    }
    return found, bool(good.all())


def conventions(data: Recordings, reference: Reference) -> str:
    """One wrong convention at a time, on the recordings that the original rows are of."""
    wanted = set(data.training[reference.rows].tolist())
    recordings = [each for each in data.recordings if wanted.intersection(each.rows.tolist())]
    rows = []
    for each in track(CONVENTIONS, description="wrong conventions", transient=True):
        ours = data.features(each.compute, recordings)[data.training][reference.rows]
        r = correlations(ours, reference.values)
        worst = int(np.argmin(np.nan_to_num(r, nan=-np.inf)))
        counts = (r >= 0.99).sum(), (r >= CORRELATION).sum()
        coefficient = "undefined" if np.isnan(r[worst]) else f"{r[worst]:.3f}"
        where = f"{columns()[worst].name}: {coefficient}" if counts[1] < len(r) else ""
        rows.append((each.right, each.said, each.wrong, *counts, where))
    head = "right | features_info.txt | done instead | r >= 0.99: | r >= 0.999999: | worst"
    return table(head, rows)


def copies(features: Array, data: Recordings, reference: Reference) -> dict[str, str]:
    """Columns that repeat another, and pairs that nearly do."""
    x = features[data.training]
    repeated: dict[str, list[str]] = {}
    for column in columns():
        if original(column) != column:
            assert np.allclose(x[:, column.index], x[:, original(column).index], rtol=1e-12, atol=0), column
            repeated.setdefault(original(column).name, []).append(column.name)
    pairs = sum(len(each) * (len(each) + 1) // 2 for each in repeated.values())
    distinct = [column.index for column in columns() if original(column) == column]
    r = np.abs(np.corrcoef(x[:, distinct], rowvar=False))
    near = [(r[i, j], distinct[i], distinct[j]) for i, j in np.argwhere(np.triu(r, 1) >= NEARLY)]
    theirs = sum(
        np.array_equal(reference.values[:, column.index], reference.values[:, original(column).index])
        for column in columns()
        if original(column) != column
    )
    text = (
        f"{len(columns()) - len(distinct)} columns repeat another ({theirs} of them do in the original rows), which "
        f"makes {pairs} pairs of equal ones: "
    )
    text += "; ".join(f"{name} = {' = '.join(same)}" for name, same in repeated.items())
    nearly = (f"{columns()[i].name} and {columns()[j].name} ({value:.7f})" for value, i, j in near)
    pairs_text = f"Of the others, {len(near)} pairs correlate by {NEARLY} or more over the training windows: "
    return {
        name: textwrap.fill(f"{each}.", 120, break_on_hyphens=False)
        for name, each in (("copies", text), ("near copies", pairs_text + "; ".join(nearly)))
    }


def plot(data: Recordings, folder: Path) -> Path:
    """Draws one window of walking and one of sitting down, stage by stage."""
    mpl.use("Agg")

    def window(activity: int) -> tuple[Recording, int]:
        for each in data.recordings:
            (found,) = np.nonzero(each.activities == activity)
            if found.size:
                return each, int(each.starts[found[len(found) // 2]])
        raise UserError(f"no recording has a window of activity {activity}")

    figure, axes = plt.subplots(6, 4, figsize=(13, 12), layout="constrained")
    cases = [(activity, *window(number)) for number, activity in ((1, "WALKING"), (7, "STAND_TO_SIT"))]
    for pair, (activity, recording, start) in enumerate(cases):
        piece = slice(start, start + WINDOW)
        median = signal.medfilt(recording.samples, (3, 1))
        smooth = signal.sosfilt(NOISE.sections(), median, axis=0)
        signals = Conditioner().push(recording.samples)[piece]
        for sensor, (name, unit, slow) in enumerate((("Acc", "g", "gravity"), ("Gyro", "rad/s", "drift"))):
            column = axes[:, 2 * pair + sensor]
            raw = slice(3 * sensor, 3 * sensor + 3)
            body, jerk = (signals[:, CHANNELS[f"tBody{name}{kind}"]] for kind in ("", "Jerk"))
            magnitudes = np.stack([signals[:, CHANNELS[f"tBody{name}{kind}Mag"]][:, 0] for kind in ("", "Jerk")], 1)
            removed = smooth[piece, raw] - body
            filtered = np.stack([each[piece, raw.start] for each in (recording.samples, median, smooth)], axis=1)
            seconds = np.arange(WINDOW) / RATE
            stages = [
                (f"raw, {unit}", recording.samples[piece, raw], "xyz"),
                (f"x: raw, median, low-pass, {unit}", filtered, ("raw", "median", "low-pass")),
                (f"{slow}, {unit}", removed, "xyz"),
                (f"tBody{name}, {unit}", body, "xyz"),
                (f"jerk (steps) and magnitudes, {unit}", np.concatenate([jerk, magnitudes], axis=1),
                 ("jerk x", "y", "z", "Mag", "JerkMag")),
            ]  # fmt: skip
            for place, (title, values, labels) in zip(column, stages, strict=False):
                lines = place.plot(seconds, values, linewidth=0.9)
                place.set_title(title, fontsize=8)
                if pair + sensor == 0:
                    place.legend(lines, list(labels), fontsize=6, loc="upper right", ncols=len(labels))
            bins = spectrum(np.concatenate([body, magnitudes[:, :1]], axis=1).T[None])[0].T
            column[5].plot(np.arange(1, 65), bins, linewidth=0.9)
            column[5].set_title(f"fBody{name} and its Mag, bins of {RATE / WINDOW:.2f} Hz", fontsize=8)
            column[0].set_title(f"{activity}, {'gyroscope' if sensor else 'accelerometer'}\nraw, {unit}", fontsize=9)
            column[4].set_xlabel("s", fontsize=8)
            for place in column:
                place.tick_params(labelsize=7)
    target = folder / "hapt-stages.png"
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    with atomic_path(target) as temporary:  # 128 colours are enough, and less than half of the size
        Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(temporary, "png", optimize=True)
    return target


def run(options: argparse.Namespace) -> int:
    root = data_root(options.root)
    reference = Reference.read(options.rows or root / "HAPT" / "x_train_rows_2_to_250.csv")
    data = Recordings.of(find_or_fetch(root))
    begun = time.perf_counter()
    recordings = track(data.recordings, description="compute all windows", transient=True)
    features = data.features(lambda each: recording_features(each.samples, each.starts), recordings)
    seconds = time.perf_counter() - begun
    tables, met = agreement(features, data, reference)
    if options.conventions:
        tables["conventions"] = conventions(data, reference)
    if options.copies:
        tables |= copies(features, data, reference)
    if options.cost:
        tables |= cost_tables()
    if options.plot:
        print(f"drawn: {plot(data, options.plot)}")
    verdict = tables["verdict"]
    if options.write:
        write_tables(options.write, tables)
    else:
        print(*(content for name, content in tables.items() if name != "verdict"), sep="\n\n", end="\n\n")
    print(f"{len(features):,} windows of {len(data.recordings)} recordings computed in {seconds:.1f} s")
    print(verdict.splitlines()[0] if options.write else verdict)
    return 0 if met else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the data root, with HAPT (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--rows", type=Path, help="original rows (default: HAPT/x_train_rows_2_to_250.csv of the root)")
    parser.add_argument("--conventions", action="store_true", help="one wrong convention at a time")
    parser.add_argument("--copies", action="store_true", help="columns that repeat another, or nearly do")
    parser.add_argument("--cost", action="store_true", help="formulas and totals of the arithmetic")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="draw hapt-stages.png")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
