"""Files that are read back, damaged: checkpoints, rows, logged metrics, configurations, suites, models of others."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.damaged.runs import BEST, FIT, FOLDER, LAST, RESULT, RUN, exported, state_of
from benchmarks.damaged.trial import Ended, Trial, said

__all__ = ["checkpoints", "configurations", "metrics", "model_files", "rows", "suites"]

Damage = Callable[[Path], object]

_TEST = ("test", "--ckpt_path", str(BEST), "--trainer.enable_progress_bar", "false")
_EXPORT = ("export", "--ckpt_path", str(BEST), "--format", "c", "tflite")
_RESUME = ("fit", "--ckpt_path", str(LAST), "--trainer.max_epochs", "4", "--threads", "1")
_COMPARE = ("compare", "runs")
_TEXTS = {
    "empty": b"",
    "a text": b"not what it should be\n",
    "zeros": bytes(4096),
    "not UTF-8": b"\xff\xfe\x00key: \xe9\n",
    "a picture's head": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "a zip's head": b"PK\x03\x04" + bytes(60),
}
_VALUES: tuple[Any, ...] = (-1, 1.5, "many", None, [], {}, True, 10**400, float("nan"), float("inf"))


def flipped(path: Path, draw: random.Random) -> Damage:
    """One bit of a file, anywhere."""
    place = draw.random()

    def damage(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        content[int(place * len(content))] ^= 1 << draw.randrange(8)
        (folder / path).write_bytes(content)

    return damage


def cut(path: Path, share: float) -> Damage:
    """The beginning of a file alone."""

    def damage(folder: Path) -> None:
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: int(share * len(content))])

    return damage


def replaced(path: Path, content: bytes) -> Damage:
    """Another content."""
    return lambda folder: (folder / path).write_bytes(content)


def a_folder(path: Path) -> Damage:
    """A folder in a file's place."""

    def damage(folder: Path) -> None:
        (folder / path).unlink()
        (folder / path).mkdir()

    return damage


def _damages(path: Path, draw: random.Random, flips: int, cuts: int) -> Iterator[tuple[str, Damage]]:
    for number in range(flips):
        yield f"bit {number}", flipped(path, draw)
    for number in range(cuts):
        yield f"cut {number}", cut(path, (number + draw.random()) / cuts)
    for name, content in _TEXTS.items():
        yield name, replaced(path, content)
    yield "a folder", a_folder(path)


def _resumed(folder: Path, _ended: Ended) -> object:
    return state_of(folder / FOLDER)


def checkpoints(pristine: Path, draw: random.Random) -> Iterator[Trial]:
    """Bits, ends and whole contents of checkpoints, where they are scored, exported and gone on from."""
    for path, words, outcome in ((BEST, _TEST, said), (BEST, _EXPORT, exported), (LAST, _RESUME, _resumed)):
        for name, damage in _damages(path, draw, 24, 8):
            yield Trial("a checkpoint", f"{words[0]}, {name}", words, damage, pristine, outcome)


def rows(pristine: Path, draw: random.Random) -> Iterator[Trial]:
    """Fields of ``result.json`` that are missing, of other types, out of range; and the file as a whole."""
    for name, damage in _changes(pristine, RESULT, json.loads, json.dumps, _VALUES, draw, 100, may_be=_may_be):
        yield Trial("result.json", name, _COMPARE, damage, pristine, said, about=RUN)
    for name, damage in _damages(RESULT, draw, 0, 10):
        yield Trial("result.json", name, _COMPARE, damage, pristine, said, about=RUN)
        yield Trial("result.json", f"export, {name}", _EXPORT, damage, pristine, exported)


def metrics(pristine: Path, draw: random.Random) -> Iterator[Trial]:
    """``metrics.csv`` of a run that goes on."""
    path = FOLDER / "metrics.csv"
    for name, damage in _damages(path, draw, 10, 8):
        yield Trial("metrics.csv", name, _RESUME, damage, pristine, _resumed)


def configurations(pristine: Path, draw: random.Random) -> Iterator[Trial]:
    """``config.yaml`` of a run and one of one's own: ends, contents, and values of other types."""
    path = FOLDER / "config.yaml"
    for name, damage in _damages(path, draw, 0, 20):
        yield Trial("a run's config.yaml", name, _TEST, damage, pristine, said)
    wrong = ("many", [[]], {"a": 1}, -1.5)
    for name, damage in _changes(pristine, path, yaml.safe_load, yaml.safe_dump, wrong, draw, 40):
        yield Trial("a run's config.yaml", name, _TEST, damage, pristine, said)
    own = Path("own.yaml")
    texts = {
        **_TEXTS,
        "a list": b"- 1\n- 2\n",
        "a number": b"5\n",
        "a key twice": b"threads: 1\nthreads: 2\n",
        "a key twice, within": b"trainer:\n  max_epochs: 1\n  max_epochs: 2\n",
        "tabs": b"trainer:\n\tmax_epochs: 1\n",
        "no such option": b"trainer:\n  max_epoch: 1\n",
        "no such part": b"trained:\n  max_epochs: 1\n",
        "a scalar for a part": b"trainer: 5\n",
        "a list for a part": b"model: [MLP]\n",
        "an open bracket": b"model: [MLP\n",
        "a tag": b"model: !!python/object/apply:os.getcwd []\n",
        "an anchor of nothing": b"model: *nothing\n",
        "two documents": b"threads: 1\n---\nthreads: 2\n",
        "a path of no type": b"ckpt_path: 5\n",
    }
    for name, text in texts.items():
        if text:
            words = (*FIT, "--config", str(own))
            yield Trial("--config", name, words, replaced(own, text), pristine)


def suites(pristine: Path, _draw: random.Random) -> Iterator[Trial]:
    """Suites of one's own."""
    path = Path("suite.yaml")
    texts = {
        **_TEXTS,
        "a list": b"- 1\n",
        "no tables": b"seeds: [0]\n",
        "a scalar for tables": b"tables: 5\n",
        "a scalar for rows": b"tables: {T: {rows: 5}}\n",
        "a scalar for a row": b"tables: {T: {rows: {a: 5}}}\n",
        "a row of nothing": b"tables: {T: {rows: {a: }}}\n",
        "a row twice": b"tables:\n  T:\n    rows:\n      a: --model MLP\n      a: --model CNN\n",
        "a table twice": b"tables:\n  T: {rows: {a: --model MLP}}\n  T: {rows: {a: --model CNN}}\n",
        "seeds twice": b"seeds: [0]\nseeds: [1]\ntables: {T: {rows: {a: --model MLP}}}\n",
        "a seed twice": b"seeds: [0, 0]\ntables: {T: {rows: {a: --data Digits --model MLP}}}\n",
        "a seed below 0": b"seeds: [-1]\ntables: {T: {rows: {a: --data Digits --model MLP}}}\n",
        "words for seeds": b"seeds: many\ntables: {T: {rows: {a: --data Digits --model MLP}}}\n",
        "an open quotation": b'tables: {T: {rows: {a: "--model \'MLP"}}}\n',
        "an open bracket": b"tables: [\n",
        "no such key": b"tabels: {}\n",
        "no such model": b"tables: {T: {rows: {a: --data Digits --model MPL}}}\n",
    }
    for name, text in texts.items():
        words = ("compare", "--suite", str(path))
        yield Trial("a suite", name, words, replaced(path, text), pristine)


def model_files(pristine: Path, draw: random.Random) -> Iterator[Trial]:
    """``.tflite`` and ``.onnx`` that end too early, or are something else; their weights have no checksums."""
    for suffix in ("tflite", "onnx"):
        path = Path(f"export/model.{suffix}")
        for name, damage in _damages(path, draw, 0, 20):
            yield Trial(f"a file .{suffix}", name, ("profile", str(path)), damage, pristine, said)


def _changes(
    pristine: Path,
    path: Path,
    load: Callable[[str], Any],
    dump: Callable[[Any], str],
    values: Sequence[Any],
    draw: random.Random,
    number: int,
    may_be: Callable[[tuple[Any, ...], Any, Any], bool] = lambda *_: False,
) -> Iterator[tuple[str, Damage]]:
    """So many of all ways to give one of a file's fields one of some values that it may not have, by name."""
    content = load((pristine / path).read_text("utf-8"))
    changes = [
        (place, value) for place, before in _leaves(content) for value in values if not may_be(place, before, value)
    ]
    for place, value in draw.sample(changes, number):
        yield f"{'.'.join(map(str, place))}: {str(value)[:8]}", _changed(path, load, dump, place, value)


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield (*path, key), value
        yield from _leaves(value, (*path, key))


# What may be null in a row, as it may not be known; of the others, some of their fields may.
_NOT_KNOWN = {
    *("data", "inputs", "split", "macs", "flash_bytes", "ram_bytes", "steps", "git_commit", "threads", "seed"),
    *("preprocessing", "other_form", "measured"),
}
_PARTS_NOT_KNOWN = {"accuracy", "macro_f1", "seconds", "logged", "checkpoint", "split"}


def _may_be(place: tuple[Any, ...], before: Any, value: Any) -> bool:
    """Whether a row's field may have a value: names are free, seconds are any, and much may not be known."""
    if value is None:
        return place[-1] in _NOT_KNOWN or (len(place) > 1 and place[0] in _PARTS_NOT_KNOWN)
    named = isinstance(before, str) and place[-1] not in ("form", "kind")
    return (named and isinstance(value, str)) or (place[0] in ("seconds", "logged") and value == 1.5)


def _changed(
    path: Path, load: Callable[[str], Any], dump: Callable[[Any], str], place: Sequence[Any], value: Any
) -> Damage:
    def damage(folder: Path) -> None:
        content = load((folder / path).read_text("utf-8"))
        part = content
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        (folder / path).write_text(dump(content), "utf-8")

    return damage
