"""Train and measure models small enough for microcontrollers, with PyTorch Lightning.

The names below are imported when they are first used: ``import mcubench`` alone imports neither torch nor lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcubench import augmentation as augmentation
    from mcubench import baselines as baselines
    from mcubench import callbacks as callbacks
    from mcubench import codegen as codegen
    from mcubench import cost as cost
    from mcubench import datamodules as datamodules
    from mcubench import export as export
    from mcubench import features as features
    from mcubench import graph as graph
    from mcubench import models as models
    from mcubench import parity as parity
    from mcubench import quant as quant
    from mcubench import readers as readers
    from mcubench import results as results
    from mcubench import search as search
    from mcubench import seeds as seeds
    from mcubench import suites as suites
    from mcubench import target as target
    from mcubench import testing as testing
    from mcubench import training as training
    from mcubench._compat import mend_torchvision as mend_torchvision
    from mcubench.errors import UserError as UserError

__version__ = "0.1.0"

_HOMES = {"mend_torchvision": "mcubench._compat", "UserError": "mcubench.errors"}
_SUBPACKAGES = (
    "augmentation",
    "baselines",
    "callbacks",
    "codegen",
    "cost",
    "datamodules",
    "export",
    "features",
    "graph",
    "models",
    "parity",
    "quant",
    "readers",
    "results",
    "search",
    "seeds",
    "suites",
    "target",
    "testing",
    "training",
)

__all__ = [
    "UserError",
    "__version__",
    "augmentation",
    "baselines",
    "callbacks",
    "codegen",
    "cost",
    "datamodules",
    "export",
    "features",
    "graph",
    "mend_torchvision",
    "models",
    "parity",
    "quant",
    "readers",
    "results",
    "search",
    "seeds",
    "suites",
    "target",
    "testing",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"mcubench.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mcubench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
