"""Options with values that they can't have."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.damaged.runs import BEST, FIT, TREE
from benchmarks.damaged.trial import Trial

__all__ = ["options"]

_NO_COUNT = ("-3", "1.5", "many", "nan", "[]", "{}", "''", "99999999999999999999")
_NO_SHARE = ("-0.5", "nan", "inf", "much", "[]")
_BAD = {
    "--trainer.max_epochs": ("-3", "1.5", "many", "nan", "[]", "{}"),
    "--trainer.accumulate_grad_batches": ("0", *_NO_COUNT[:6]),
    "--trainer.check_val_every_n_epoch": ("0", *_NO_COUNT[:6]),
    "--trainer.devices": ("0", "-3", "many", "1.5"),
    "--trainer.gradient_clip_val": ("-1", "nan", "much"),
    "--trainer.limit_train_batches": _NO_SHARE,
    "--trainer.limit_val_batches": _NO_SHARE,
    "--trainer.log_every_n_steps": ("-1", "many"),
    "--trainer.num_sanity_val_steps": ("-3", "many"),
    "--trainer.precision": ("5", "half", "[]"),
    "--trainer.accelerator": ("abacus", "[]"),
    "--trainer.strategy": ("none", "[]"),
    "--trainer.callbacks": ("None.At.All", "5", "[5]"),
    "--trainer.no_such_option": ("1",),
    "--model.hidden": ("[0]", "[-1]", "many", "[1.5]", "[[]]"),
    "--model.learning_rate": ("-1", "nan", "inf", "much", "[]"),
    "--model.optimizer": ("fast", "5", "[]"),
    "--model.schedule": ("fast", "5", "[]"),
    "--model.activation": ("fast", "5", "[]"),
    "--model.num_classes": ("0", "1", "3", "-1", "many"),
    "--model.weight_decay": ("-1", "nan", "much"),
    "--data.size": ("-1", "0", "many", "1.5"),
    "--data.batch_size": ("-1", "0", "many", "1.5"),
    "--data.val_fraction": ("-0.1", "1", "2", "nan", "much"),
    "--data.split": ("chance", "5", "[]"),
    "--folds": ("0", "1", "-1", "many", "1.5", "10000000", "999999999999"),
    "--seeds": ("[]", "many", "-1", "[1,1]", "1.5"),
    "--seed_everything": ("-1", "many", "1.5", "99999999999999999999"),
    "--threads": ("0", "-1", "many", "1.5"),
    "--budget.flash": ("-1", "much", "0", "1 XiB"),
    "--budget.device": ("abacus",),
    "--budget.weight_bits": ("0", "3", "many"),
    "--ckpt_path": ("nowhere.ckpt", "runs", "''"),
    "--no_such_option": ("1",),
}
_OF_TREES = {
    "--model.max_depth": ("0", "-1", "many", "1.5"),
    "--model.bits": ("3", "many", "[]"),
    "--trainer.callbacks+": ("QuantizationAwareTraining",),
    "--seed_everything": ("-1", "many"),
}
_OF_VERBS = {
    "quantize": {"--weight_bits": ("0", "3", "many"), "--samples": ("0", "-1", "many")},
    "export": {"--format": ("paper", "5"), "--opset": ("1", "many"), "--dialect": ("latin",), "--batch": ("0", "-1")},
    "profile": {"--counts": ("none",), "--device": ("abacus",), "--weight_bits": ("0", "many")},
    "predict": {"--output": ("/proc/none/at/all", "runs")},
    "test": {"--ckpt_path": ("nowhere.ckpt", "runs/none")},
}


def options(pristine: Path, _draw: random.Random) -> Iterator[Trial]:
    """Numbers out of range, words for numbers, names of nothing: each is refused before anything is trained."""
    for command, bad in ((FIT, _BAD), (TREE, _OF_TREES)):
        for option, values in bad.items():
            for value in values:
                yield _trial(pristine, f"{option}={value}", (*command, f"{option}={value}"))
    for verb, others in _OF_VERBS.items():
        for option, values in others.items():
            for value in values:
                given = () if option == "--ckpt_path" else ("--ckpt_path", str(BEST))
                yield _trial(pristine, f"{verb} {option} {value}", (verb, *given, option, value))


def _trial(pristine: Path, name: str, words: tuple[str, ...]) -> Trial:
    return Trial("an option", name, words, lambda _: None, pristine)
