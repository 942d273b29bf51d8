"""Commands that are a sensible next step after a fit, such that each of them runs as it stands."""

from __future__ import annotations

import inspect
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

from mcubench.cli.options.names import FROM_DATA, is_foreign, typed_name
from mcubench.cli.options.resume import DEFAULT_ROOT
from mcubench.results.result import Result
from mcubench.results.run_folder import CONFIG, shown

__all__ = ["next_commands"]

_RUN = "python -m mcubench"


def next_commands(result: Result, folder: Path, quantizable: bool) -> list[str]:
    """The commands, each perhaps with a remark behind ``#``.

    Args:
        result: What the fit came to.
        folder: The run's folder.
        quantizable: Whether ``quantize`` takes the model.
    """
    data = result.data["name"] if result.data else None
    ours = str(result.model["class_path"]).startswith(("mcubench.models.", "mcubench.baselines."))
    hints = []
    if data in ("Digits", "MNIST") and typed_name(str(result.model["class_path"])) == "MLP":
        hints.append(f"{_RUN} fit --model CNN --data {data}")
    elif data == "HAPT" and result.split and result.split["kind"] == "subject":
        again = f"{_RUN} fit {_same_model(result, folder)}"
        if result.preprocessing and result.preprocessing["features"] > 40:
            hints.append(f"{again} --data.k_best 40    # fewer features cost less")
        hints.append(f"{again} --data.split random    # see how it leaks")
    if data == "Digits" and ours and not _given(result.data):
        model = _short_model(result)
        if model is not None:  # MNIST is of the same shape as digits are, where nobody says another size
            hints.append(f"{_RUN} fit --model {model} --data MNIST")
    return hints + _measuring(result, folder, quantizable)


def _measuring(result: Result, folder: Path, quantizable: bool) -> list[str]:
    """What to do with the checkpoint, where there is one and a test set."""
    if (path := result.checkpoint["path"]) is None or result.accuracy.get("test") is None:
        return []
    # best and last mean the newest run under the default folder
    newest = folder.resolve().parent == Path(DEFAULT_ROOT).resolve() and path in _BY_NAME
    checkpoint = Path(path).stem if newest else shlex.quote(shown(folder / path))
    classical = str(result.model["class_path"]).startswith("mcubench.baselines.")
    what = "what fewer bits cost" if classical else "the same model in int8"
    quantize = [f"{_RUN} quantize --ckpt_path {checkpoint}    # {what}"] if quantizable else []
    return [f"{_RUN} test --ckpt_path {checkpoint}", *quantize]


_BY_NAME = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")


def _same_model(result: Result, folder: Path) -> str:
    """The options that say the same model and data again: by name, or as the run's configuration has them."""
    model = _short_model(result)
    if model is None:
        return f"--config {shlex.quote(shown(folder / CONFIG))}"
    return f"--model {model} --data HAPT{_data_options(result.data)}"


def _short_model(result: Result) -> str | None:
    """A model of ours by its short name; ``None`` for those of others, and for options that a name does not say."""
    path = str(result.model["class_path"])
    given = _given(result.model)
    estimator = given.pop("estimator", None)
    if is_foreign(path) or "." in typed_name(path) or given:
        return None
    return typed_name(path) + (f" --model.estimator {shlex.quote(estimator)}" if estimator else "")


def _given(row: dict[str, Any] | None) -> dict[str, Any]:
    """The options of a class of ours that differ from its defaults."""
    module, _, name = str((row or {}).get("class_path", "")).rpartition(".")
    if not module.startswith("mcubench."):
        return {}
    defaults: dict[str, Any] = {}
    for kind in reversed(getattr(import_module(module), name).__mro__[:-1]):
        init = vars(kind).get("__init__")
        found = {} if init is None else inspect.signature(init).parameters
        defaults |= {each.name: each.default for each in found.values()}
    options = (row or {}).get("init_args", {})
    return {
        key: value
        for key, value in options.items()
        if key not in FROM_DATA and key in defaults and _plain(value) != _plain(defaults[key])
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _data_options(data: dict[str, Any] | None) -> str:
    """The options that say what HAPT's inputs are, as they were given."""
    given = (data or {}).get("init_args", {})
    words = [""]
    for name, default in (("inputs", "raw"), ("features", None), ("k_best", None), ("scaling", "train")):
        if (value := given.get(name, default)) != default:
            text = f"[{','.join(value)}]" if isinstance(value, list) else str(value)
            words.append(f"--data.{name} {shlex.quote(text)}")
    return " ".join(words)
