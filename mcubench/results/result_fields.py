"""What each field of a ``result.json`` must be; docs/result.md says what it means."""

from __future__ import annotations

from mcubench.schema import (
    MOST,
    count,
    listed,
    mapping,
    matching,
    nullable,
    number,
    plain,
    record,
    share,
    text,
    whole,
)

__all__ = ["check_result"]

_seconds = number(0, MOST)
_bits = whole(1, 32)
_validated = record({"val": nullable(share), "test": nullable(share)})
_scores = record(dict.fromkeys(("train", "val", "test"), nullable(share)))
_class = record({"name": text, "class_path": text, "init_args": mapping(plain)})
_sizes = record(dict.fromkeys(("train", "val", "test"), count))


# As `mcubench.results.form.form_of` says it.
_form = matching(
    r"float|\d+-bit( \(others by layer\))?|\d+-bit weights( \(others by layer\))?, \d+-bit activations",
    "a form: float, 8-bit, or 4-bit weights, 8-bit activations",
)
_split_kind = matching("stratified|subject|random", "stratified, subject or random")


def _seed(value: object, name: str) -> None:
    """A number; true is one that was drawn, false and null are none."""
    if not isinstance(value, bool):
        nullable(count)(value, name)


_SPLIT = {
    "val_fraction": nullable(share),
    "folds": nullable(count),
    "fold": count,
    "seed": count,
    "val_subjects": listed(count),
}
_MEASURED = {
    "core": text,
    "instructions": count,
    "cycles": nullable(listed(_seconds, 2)),
    "flash_bytes": count,
    "ram_bytes": count,
}
_MEASURED_BESIDE = {
    "device": nullable(text),
    "dialect": text,
    "samples": count,
    "different_bytes": count,
    "accuracy": nullable(share),
    "macs": count,
    "seconds": nullable(listed(_seconds, 2)),
    **{f"{part}_bytes": count for part in ("code", "constant", "arena", "stack", "input", "output")},
    "state_bytes": nullable(count),
    "limits": mapping(count),
    "layers": listed(record({})),
}

check_result = record(
    {
        "model": _class,
        "data": nullable(_class),
        "inputs": nullable(record({}, {"shape": listed(count)})),
        "split": nullable(record({"kind": _split_kind, "sizes": _sizes}, _SPLIT)),
        "seed": _seed,
        "accuracy": _scores,
        "macro_f1": _scores,
        "params": count,
        "macs": nullable(count),
        "flash_bytes": nullable(count),
        "ram_bytes": nullable(count),
        "bits": record({"weight": _bits, "activation": _bits}),
        "epochs": count,
        "steps": nullable(count),
        "seconds": record({"epoch": nullable(_seconds), "fit": nullable(_seconds)}),
        "checkpoint": record(
            {"path": nullable(text)},
            {"monitor": text, "value": nullable(number()), "epoch": count, "averaged_by": text},
        ),
        "logged": mapping(nullable(number())),
        "versions": mapping(text),
        "command": listed(text),
        "git_commit": nullable(text),
    },
    later={
        "preprocessing": nullable(record({"operations": mapping(count)}, {"features": count, "ram_bytes": count})),
        "notes": listed(text),
        "threads": nullable(count),
        "form": _form,
        "other_form": nullable(record({"form": _form, "accuracy": _validated, "macro_f1": _validated}, {"how": text})),
        "measured": nullable(record(_MEASURED, _MEASURED_BESIDE)),
    },
)
