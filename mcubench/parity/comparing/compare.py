"""`compare`: a module and a Keras model on the same samples."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.graph import Graph, interpret, one_sample, trace
from mcubench.graph.copying import in_float
from mcubench.graph.ir import Value
from mcubench.graph.passes import activation_before_pool
from mcubench.parity.backend import keras_on_cpu, load_keras
from mcubench.parity.comparing.alignment import align
from mcubench.parity.comparing.keras_costs import keras_macs, keras_params
from mcubench.parity.comparing.own_outputs import own_outputs
from mcubench.parity.comparing.pairing import Pair, Pairing, by_name, has_the_names
from mcubench.parity.comparing.recording import Step, record
from mcubench.parity.comparing.report import LayerParity, OutputParity, ParityReport, difference
from mcubench.parity.comparing.structure import (
    cut_off,
    explained_params,
    graph_macs,
    pair_params,
    structural_differences,
    torch_params,
)
from mcubench.parity.naming import labels
from mcubench.parity.twin import graph_for_keras

__all__ = ["RTOL", "compare"]

RTOL = 1e-4


def compare(
    module: nn.Module | Graph,
    keras_model: Any,
    x: Any,
    rtol: float = RTOL,
    batch_dim: int = 0,
    *,
    graph: Graph | None = None,
) -> ParityReport:
    """Runs a module and a Keras model on the same samples and compares them layer by layer.

    The reference of a layer is the module's graph, run in float; that of the outputs is the module's own forward, in
    evaluation mode. Neither the module nor the Keras model is changed.

    Args:
        module: The module; or its graph, which is then the reference of the outputs too.
        keras_model: What `to_keras` gave, or a model that somebody wrote by hand: its layers are then paired with the
            module's by kind and order. It takes the channels last where they feed convolutions.
        x: Samples as the module takes them: a tensor, a tuple of positional or a dict of keyword arguments.
        rtol: The largest relative error (L2 norm of the difference over that of the reference) that agrees.
        batch_dim: Where the batch stands in `x`.
        graph: The module's, where it has been traced already.

    Returns:
        The report; `ParityReport.passed` says whether all agrees.

    Raises:
        UserError: If there are no samples, PyTorch's outputs are not finite, or the Keras model does not take them.
        TraceError: If the module can't be traced.
    """
    keras = load_keras()
    if not hasattr(keras_model, "_flatten_layers"):
        raise UserError(f"a Keras model is needed to compare with, got {type(keras_model).__name__}")
    if not keras_model.built:
        raise UserError(f"the Keras model {keras_model.name} has no weights yet: call it once, or give it an Input")
    samples = _samples(x, batch_dim)
    if graph is None:
        graph = module if isinstance(module, Graph) else trace(module, one_sample(x, batch_dim), batch_dim)
    graph = graph_for_keras(graph)
    x = pytree.tree_map(lambda leaf: in_float(leaf.detach().cpu()).clone() if isinstance(leaf, Tensor) else leaf, x)
    inputs = [each.clone() for each in keras_inputs(graph, x, batch_dim)]
    with keras_on_cpu(keras):
        steps, results = _run(keras, keras_model, _as_it_takes_them(keras_model, inputs, x))
    values = _values(graph, inputs)
    own = [torch.from_numpy(values[value.name]) for value in graph.outputs]
    notes = list(graph.notes)
    references = [_channels_back(each, moved) for each, moved in zip(own, graph.output_axes_moved, strict=True)]
    keys: list[Any] = list(range(len(references)))
    if isinstance(module, nn.Module):
        by_name = not set(results) <= set(keys)
        references, keys, note = own_outputs(module, x, references, by_name, batch_dim)
        notes += note
    outputs = tuple(
        _output(value, results[key], reference.numpy(), moved, rtol)
        for key, value, reference, moved in zip(keys, graph.outputs, references, graph.output_axes_moved, strict=True)
        if key in results
    )
    all_agree = set(results) == set(keys) and all(output.agrees for output in outputs)
    pairing = _pair(graph, steps, values, inputs, rtol, all_agree)
    structure = list(structural_differences(pairing))
    if set(results) != set(keys):
        structure.append(f"PyTorch has the outputs {_listed(keys)}, Keras {_listed(results)}")
    structure += [
        f"output {output.name}: shape {output.shape} in PyTorch, another in Keras"
        for output in outputs
        if output.difference is None
    ]
    notes += [*pairing.others, *cut_off(pairing), *_weak(outputs, references, rtol)]
    return ParityReport(
        model=type(module).__name__ if isinstance(module, nn.Module) else "the graph",
        backend=keras.backend.backend(),
        versions=_versions(keras),
        samples=samples,
        rtol=rtol,
        layers=tuple(_layer(each, rtol) for each in pairing.pairs),
        outputs=outputs,
        structure=tuple(structure),
        params=(torch_params(graph), keras_params(keras_model)),
        macs=(_sum(map(graph_macs, graph.nodes)), _sum(map(keras_macs, steps))),
        notes=(*notes, *explained_params(graph, keras_params(keras_model))),
    )


def _samples(x: Any, batch_dim: int) -> int:
    sizes = {leaf.shape[batch_dim] for leaf in pytree.tree_leaves(x) if isinstance(leaf, Tensor)}
    if len(sizes) != 1 or 0 in sizes:
        raise UserError(
            f"x must be at least one sample, as many in each of its tensors; along axis {batch_dim}: {sizes}"
        )
    return int(sizes.pop())


def keras_inputs(graph: Graph, x: Any, batch_dim: int = 0) -> list[Tensor]:
    """Inputs of a module as its graph, and Keras, take them: the batch in front, the channels where they want them."""
    leaves = [leaf for leaf in pytree.tree_leaves(x) if isinstance(leaf, Tensor)]
    moves = graph.input_axes_moved or (0,) * len(graph.inputs)
    ready = []
    for leaf, moved in zip(leaves, moves, strict=True):
        front = leaf.movedim(batch_dim, 0)
        ready.append((front.movedim(-1 - moved, -1) if moved else front).contiguous())
    return ready


def _channels_back(tensor: Tensor, moved: int) -> Tensor:
    return tensor.movedim(-1, -1 - moved) if moved else tensor


def _listed(keys: Iterable[Any]) -> str:
    return ", ".join(map(str, keys))


def _weak(outputs: Sequence[OutputParity], references: Sequence[Tensor], rtol: float) -> Iterator[str]:
    """What makes an agreement say little."""
    for output, reference in zip(outputs, references, strict=False):
        y = reference.double()
        if output.agrees and len(y) > 1 and y.norm() and float((y - y.mean(0)).norm() / y.norm()) < 10 * rtol:
            yield (
                f"output {output.name} hardly differs from sample to sample: what is within the tolerance may hide all "
                "that it says; compare on other samples, or with a smaller tolerance"
            )
        if output.agrees and output.top1 is not None and output.top1 < 1:
            yield f"output {output.name}: the largest element is another one in {1 - output.top1:.2%} of the samples"


def _as_it_takes_them(model: Any, inputs: Sequence[Tensor], x: Any) -> tuple[list[NDArray[Any]], list[str]]:
    """The inputs as a Keras model declares them, and what they are called.

    A model without convolutions may take channels first or last. A dict's are matched by name.

    Raises:
        UserError: If they can't be that.
    """
    struct = getattr(model, "_inputs_struct", None)
    names = list(x) if isinstance(x, dict) else []
    if isinstance(struct, dict):
        if set(struct) != set(names):
            raise UserError(
                f"the Keras model takes a dict with {_listed(struct)}; x has {_listed(names) or 'no names'}"
            )
        declared = [tuple(struct[name].shape[1:]) for name in names]
    else:
        declared = [tuple(each.shape[1:]) for each in getattr(model, "inputs", None) or ()]
    if len(declared) not in (0, len(inputs)):
        raise UserError(f"the Keras model takes {len(declared)} inputs, the module {len(inputs)}")
    ready = []
    for index, tensor in enumerate(inputs):
        # The channels are in front of the places, or behind a sample's steps, as those of a video's frames are.
        axes = (2, 1) if tensor.ndim > 4 else (1, 2)
        forms = [tensor, *(tensor.movedim(axis, -1) for axis in axes if axis < tensor.ndim - 1)]
        fitting = [each for each in forms if not declared or _fits(tuple(each.shape[1:]), declared[index])]
        if not fitting:
            shapes = " or ".join(dict.fromkeys(str(tuple(each.shape[1:])) for each in forms))
            raise UserError(
                f"the Keras model takes samples of shape {declared[index]}; the module's are {shapes} (a Keras model "
                "with channels first can't be compared)"
            )
        ready.append(fitting[0].contiguous().numpy())
    return ready, names


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(want in (None, have) for have, want in zip(shape, declared, strict=True))


def _pair(
    graph: Graph,
    steps: Sequence[Step],
    values: Mapping[str, NDArray[Any]],
    inputs: Sequence[Tensor],
    rtol: float,
    outputs_agree: bool,
) -> Pairing:
    """Pairs both sides, by name if Keras has the names; else, or if pieces differ that have them, as one reads them."""
    names = labels(graph)
    named = by_name(graph, names, steps, values) if has_the_names(graph, names, steps) else None
    if named is not None and (not outputs_agree or named.has_other_numbers(rtol) or not named.faults(rtol)):
        return named
    read = [align(graph, names, steps, values, rtol, outputs_agree)]
    moved = activation_before_pool(graph)
    # A ReLU may stand before a max-pool on one side and behind it on the other.
    if [node.op for node in moved.nodes] != [node.op for node in graph.nodes]:
        more = {**values, **_values(moved, inputs)}
        read.append(align(moved, labels(moved), steps, more, rtol, outputs_agree))
    best = min(read, key=lambda pairing: (pairing.faults(rtol), -len(pairing.pairs)))
    return best if named is None or not best.faults(rtol) else named


def _values(graph: Graph, inputs: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    try:
        return {name: value.numpy() for name, value in interpret(graph, *inputs, every=True).items()}
    except RuntimeError as error:
        raise UserError(f"the module can't be run in single precision: {str(error).splitlines()[0]}") from error


def _run(
    keras: Any, model: Any, fed: tuple[list[NDArray[Any]], list[str]]
) -> tuple[list[Step], dict[Any, NDArray[Any]]]:
    inputs, names = fed
    try:
        return record(keras, model, inputs, names)
    except Exception as error:  # whatever a backend raises where shapes do not fit
        shapes = ", ".join(str(each.shape[1:]) for each in inputs)
        lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).splitlines()]
        said = [line for line in lines if line and not line.startswith("Exception encountered")]
        raise UserError(
            f"the Keras model can't be run on samples of shape {shapes}: {type(error).__name__}: {' '.join(said[:1])}"
        ) from error


def _layer(pair: Pair, rtol: float) -> LayerParity:
    off = pair.difference()
    return LayerParity(
        path=pair.label,
        op=" + ".join(node.op.label for node in pair.nodes),
        keras=pair.last.name,
        keras_kind=pair.last.kind,
        shape=tuple(pair.reference.shape[1:]),
        params=pair_params(pair),
        difference=off,
        agrees=off is not None and off.within(rtol),
    )


def _output(value: Value, found: NDArray[Any], reference: NDArray[Any], moved: int, rtol: float) -> OutputParity:
    if moved and found.ndim == reference.ndim:
        found = np.moveaxis(found, -1, -1 - moved)
    fits = found.shape == reference.shape
    off = difference(found, reference) if fits else None
    top1 = None
    if fits and reference.ndim == 2 and reference.shape[1] > 1 and np.isfinite(found).all():
        top1 = float((found.argmax(-1) == reference.argmax(-1)).mean())
    shape = tuple(reference.shape[1:])
    return OutputParity(value.name, shape, off, top1, off is not None and off.within(rtol))


def _sum(counts: Any) -> int | None:
    found = list(counts)
    return None if None in found else sum(found)


def _versions(keras: Any) -> dict[str, str]:
    backend = keras.backend.backend()
    return {"torch": torch.__version__, "keras": keras.__version__, backend: importlib.metadata.version(backend)}
