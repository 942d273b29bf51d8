"""Help texts of options that are Lightning's, said as they work here."""

from __future__ import annotations

from collections.abc import Mapping

from jsonargparse import ArgumentParser

__all__ = ["in_our_words"]

# How a group's title begins, which is the first line of some docstring, and what the group is.
_TITLES = {
    "A DataModule standardizes": "the data",
    "Base class for all neural network modules": "the model",
    "<class 'lightning.pytorch.core.module.LightningModule'>": "the model",
    "<class 'torch.nn.modules.module.Module'>": "the model",
    "<class 'lightning.pytorch.core.datamodule": "the data",
    "Customize every aspect": "how it is trained",
    "Which checkpoints are kept": "which checkpoints are kept beside last.ckpt",
    "A larger model that it learns from": "a larger model that it learns from: --distill RUN",
    "Checks what a model costs": "what a model may cost: checked before the first epoch, and when it changes",
    "Runs the full optimization": "where it starts",
    "Perform one evaluation epoch": "what is measured",
    "Run inference on your data": "what predicts",
}

_HELP = {
    "ckpt_path": "best, last, a run's folder or a file: what is meant; for fit, the run that goes on",
    "weights_only": "has no effect: checkpoints are read as tensors and plain values only",
    "verbose": "has no effect: what is measured is always printed, as a table",
    "trainer.max_epochs": "stop after so many epochs; -1: without end",
    "trainer.max_steps": "stop after so many optimiser steps, however many epochs that are",
    "trainer.default_root_dir": "the folder of all runs",
    "trainer.logger": "trackers beside metrics.csv, which is always written, as in TensorBoardLogger",
    "trainer.callbacks": "callbacks beside those of fit; with + behind the name, one more",
    "trainer.num_sanity_val_steps": "batches to validate on before training",
    "trainer.enable_checkpointing": "whether best.ckpt and last.ckpt are written",
    "trainer.enable_progress_bar": "whether a bar shows how far it is",
    "trainer.enable_model_summary": "whether Lightning's summary is printed, too; the table of costs always is",
    "trainer.model_registry": "has no effect: runs lie in folders",
    "trainer.barebones": "not possible here: a run folder needs what it leaves out",
    "seed_everything": "fixes initial weights, dropout and the order of batches; true: a random one",
    "config": "options from a YAML file, as every run folder has one",
}


def in_our_words(parser: ArgumentParser, more: Mapping[str, str] | None = None) -> None:
    """Replaces titles and texts that are docstrings by accident, or say what is not so here.

    Args:
        parser: The parser of one verb, complete.
        more: Texts of other options, by their names.
    """
    for group in parser._action_groups:
        for begins, title in _TITLES.items():
            if group.title is not None and group.title.startswith(begins):
                group.title, group.description = title, None
    texts = {**_HELP, **(more or {})}
    for action in parser._actions:
        if action.dest in texts and action.help is not None and "SUPPRESS" not in action.help:
            action.help = texts[action.dest]
