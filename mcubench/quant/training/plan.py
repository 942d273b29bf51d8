"""Which calls of a running forward make which values of the deployed graph; what has none is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mcubench.errors import UserError
from mcubench.graph import Graph, Node, Op, Value, deploy, ops
from mcubench.quant.composition import composed
from mcubench.quant.integer import NotInIntegersError
from mcubench.quant.quantize import check_kernels
from mcubench.quant.sharing import MOVES, GridGroups, group_values
from mcubench.quant.training.recurrent_sites import RecurrentSite, recurrent_sites
from mcubench.quant.training.sites import marked_trace, sites_of
from mcubench.quant.training.steps import keys_of_steps

__all__ = ["Plan", "WeightSite", "make_plan"]

_LAYERS = (ops.Dense, ops.Conv, ops.TransposedConv)

# Functions with a weight: its name and position among the arguments, and its axis of the output channels.
_WEIGHTS = {
    "linear": ("weight", 1, 0),
    **{f"conv{rank}d": ("weight", 1, 0) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": ("weight", 1, 1) for rank in (1, 2, 3)},
    "matmul": ("other", 1, -1),
    "mm": ("mat2", 1, -1),
    "addmm": ("mat2", 2, -1),
}


@dataclass(frozen=True)
class WeightSite:
    """The weight of one call.

    Attributes:
        path: The module that makes the call.
        argument: The weight's name among the call's arguments.
        position: Its place among them.
        axis: Its axis of the output channels.
        sources: Paths of the parameters that it is, or is computed from.
    """

    path: str
    argument: str
    position: int
    axis: int
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Where a running forward is rounded.

    Attributes:
        graph: The deployed graph, whose values these are.
        groups: Which of them share a grid.
        activations: By the key of a call, the group of what it returns.
        weights: By the key of a call, its weight.
        recurrent: By the key of a call, the recurrent layers that it computes, or steps through.
        paths: By key, the module that makes the call.
        counts: How often each function that has a key here is called in a forward.
        in_steps: Keys of the calls whose steps are rounded, too; a step's key has its name behind that of the call.
        parameters: Paths of the parameters and buffers that forward computes with.
    """

    graph: Graph
    groups: GridGroups
    activations: Mapping[str, int]
    weights: Mapping[str, WeightSite]
    recurrent: Mapping[str, RecurrentSite]
    paths: Mapping[str, str]
    counts: Mapping[str, int]
    in_steps: frozenset[str]
    parameters: frozenset[str]

    @property
    def representatives(self) -> dict[int, str]:
        """For each group whose range is for data to choose one key, the same in every process."""
        found: dict[int, str] = {}
        for key, group in self.activations.items():
            if group not in self.groups.fixed:
                found.setdefault(group, key)
        return found

    def ranges_of(self, state: Mapping[str, Any]) -> dict[int, tuple[float, float]]:
        """The ranges of a checkpoint's state by group; none, if it was saved before any were learned.

        Raises:
            UserError: If they are of another network.
        """
        known: Mapping[str, Any] = state.get("ranges", {})
        wanted = self.representatives
        if known and set(known) != set(wanted.values()):
            other = ", ".join(sorted(set(known) ^ set(wanted.values())))
            raise UserError(
                f"the checkpoint's ranges are of another network: they and this one's calls differ in {other}. Build "
                "the network as it was trained"
            )
        return {group: (float(known[key][0]), float(known[key][1])) for group, key in wanted.items() if known}


def make_plan(module: nn.Module, example_input: Any, batch_dim: int | None = 0) -> Plan:
    """Traces a module and finds the call that makes each value.

    Args:
        module: Any module; it is left as it is.
        example_input: One sample, as `mcubench.graph.trace` takes it.
        batch_dim: Where the batch stands in it.

    Raises:
        UserError: If there is something that has no integer counterpart, or no call of its own, so that training would
            go on in float there.
    """
    traced, counts = marked_trace(module, example_input, batch_dim)
    if rounded := next((node for node in traced.nodes if type(node.op) is ops.FakeQuantize), None):
        raise UserError(
            f"{rounded.path or 'the outermost forward'} rounds its values itself: train the module as it was before it "
            "was prepared for quantisation"
        )
    keys = sites_of(traced)
    graph = deploy(traced)
    try:
        check_kernels(graph)
    except NotInIntegersError as error:
        raise UserError(
            f"quantisation-aware training would train what has no integer form: {error}. Replace it, or train without "
            "QuantizationAwareTraining"
        ) from error
    traced_weights = {node.name: node.op.weight.sources for node in traced.nodes if isinstance(node.op, _LAYERS)}
    weights = {
        key: site
        for node in graph.nodes
        if isinstance(node.op, _LAYERS)
        for key, site in [_weight_site(node, keys.get(node.name), traced_weights[node.name])]
    }
    _check_products(graph)
    parts = composed(graph)
    groups, steps = group_values(parts), keys_of_steps(parts, keys)
    activations, paths = {}, {}
    for value, path in _rounded_values(parts, keys, groups):
        key = keys.get(value.name, steps.get(value.name))
        if key is None and groups.of[value] in groups.fixed:
            continue  # inside of a call, as the gate of a GLU: its grid is known, and finer than what is made of it
        if key is None or not (value.name in steps or _read_through(value, key, traced, keys)):
            raise _unseen(path, f"its result {value.name} is changed or read in a way that can't be followed")
        activations[key], paths[key] = groups.of[value], path
    paths.update((key, site.path) for key, site in weights.items())
    recurrent = recurrent_sites(graph, traced, keys, groups)
    for site in recurrent.values():
        for key, group in site.learned():
            activations[key], paths[key] = group, site.path
    names = {key.rpartition(":")[0] for key in (*activations, *weights)}
    known = {name: counts.get(name, 0) for name in names - {"input"}}
    parameters = {path for node in traced.nodes for _, each in node.op.weights() for path in each.sources}
    in_steps = frozenset(key.rpartition(".")[0] for key in steps.values())
    return Plan(graph, groups, activations, weights, recurrent, paths, known, in_steps, frozenset(parameters))


def _check_products(graph: Graph) -> None:
    """Sees that no weight is multiplied with where training takes it for a value."""
    for node in graph.nodes:
        if isinstance(node.op, ops.MatMul) and (found := next(node.op.weights(), None)):
            raise _unseen(node.path, f"{found[1].name} stands on the left of a product, where it is not rounded")


def _unseen(path: str, reason: str) -> UserError:
    return UserError(
        f"quantisation-aware training does not reach {path or 'the outermost forward'}: {reason}. It would stay float "
        "without a word; replace it, or train without QuantizationAwareTraining"
    )


def _weight_site(node: Node, key: str | None, sources: tuple[str, ...]) -> tuple[str, WeightSite]:
    function = key.rpartition(":")[0] if key is not None else None
    if key is None or function not in _WEIGHTS:
        known = ", ".join(_WEIGHTS)
        raise _unseen(node.path, f"the weight of {node.op.label} is not that of a call of {known}")
    return key, WeightSite(node.path, *_WEIGHTS[function], sources)


def _rounded_values(graph: Graph, keys: Mapping[str, str], groups: GridGroups) -> list[tuple[Value, str]]:
    """The values that are rounded anew, each with the module that makes it; of those that are clamped, the clamped.

    Moves pass on rounded values, and so does a max-pool: it is rounded in front, or, where the running forward has its
    activation behind the pool and the deployed graph before it, behind.
    """
    consumers = graph.consumers()
    found = [(value, "") for value in graph.inputs if value.dtype.is_floating_point and consumers[value]]
    by_pool: set[Value] = set()  # left to the max-pools that read them
    for node in graph.nodes:
        value = node.output
        if isinstance(node.op, ops.Recurrent):
            continue  # rounded within
        if value in groups.clipped or _moves(node.op) or (_is_max_pool(node) and node.inputs[0] not in by_pool):
            continue
        readers = consumers[value]
        if value.name not in keys and readers and value not in graph.outputs and all(map(_is_max_pool, readers)):
            by_pool.add(value)
        else:
            found.append((value, node.path))
    return found


def _moves(op: Op) -> bool:
    """Whether all codes that come out went in: not so where a resize interpolates, or a number is put around."""
    interpolates = isinstance(op, ops.Resize) and not op.mode.startswith("nearest")
    puts_around = isinstance(op, ops.Pad) and op.mode == "constant" and op.value != 0
    return isinstance(op, MOVES) and not interpolates and not puts_around


def _is_max_pool(node: Node) -> bool:
    op = node.op
    pools = isinstance(op, (ops.Pool, ops.AdaptivePool)) and op.kind == "max"
    return pools or (isinstance(op, ops.Reduce) and op.kind == "amax")


def _read_through(value: Value, key: str, traced: Graph, keys: Mapping[str, str]) -> bool:
    """Whether all that read a value, as traced, read what the call returned: not so if it was changed in place."""
    for node in traced.nodes:
        if any(each.name == value.name for each in node.inputs) and not isinstance(node.op, ops.Site):
            reshaped = isinstance(node.op, ops.Reshape) and keys.get(node.output.name) == key
            if not reshaped:
                return False
    return all(each.name != value.name for each in traced.outputs)
