"""``.keras`` and ``.h5`` files: models of Keras as calls of torch's operators.

Keras builds the model, as it alone knows what its options of many versions mean; its layers are then written down one
by one. Nothing is computed by it, so any backend will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import fx

from mcubench.errors import UserError
from mcubench.graph.ir import Graph
from mcubench.readers.keras import functions, layers, moves, windows
from mcubench.readers.keras.configuration import checked
from mcubench.readers.keras.loading import loaded
from mcubench.readers.keras.model import inputs_of, written
from mcubench.readers.keras.site import RULES, Writing
from mcubench.readers.keras.stored import taken_apart
from mcubench.readers.program import Program, graph_of

__all__ = ["functions", "layers", "moves", "read_keras", "windows"]


def read_keras(path: Path, content: bytes) -> Graph:
    """Reads a model.

    Args:
        path: The file; only its name is looked at.
        content: Its bytes.

    Returns:
        Its graph, in float.

    Raises:
        CorruptDataError: If it is truncated or altered.
        UserError: If it holds what can't be read, which is named, or code; or if Keras is not installed.
    """
    found = taken_apart(content)
    config = checked(found.config, {*RULES, "InputLayer"}, found.zipped)
    keras, model = loaded(found, config)
    if not hasattr(model, "layers"):
        raise UserError(f"{path.name} holds a layer by itself, no model")
    of_keras_2 = found.version.partition(".")[0] in ("1", "2") or not found.version

    def write(program: Program, given: Sequence[fx.Node]) -> Sequence[fx.Node]:
        return written(Writing(program, keras, of_keras_2), model, given)

    return graph_of(inputs_of(model), write)
