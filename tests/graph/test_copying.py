"""A copy refers to nothing of its module, however the module refers to itself; what can't be copied is named."""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mcubench.cost import BitWidths, profile
from mcubench.errors import UserError
from mcubench.graph import TraceError, trace
from mcubench.graph.copying import copy_of
from tests.graph.compare import cases, distance, kinds, run

EXAMPLE = torch.zeros(1, 4)


class Refers(nn.Module):
    """Its forward gets at its layers by what was made of it; they are in training mode, and count their calls."""

    def __init__(self, refer: Callable[[Refers], Any] | None) -> None:
        super().__init__()
        self.norm, self.drop, self.calls = nn.BatchNorm1d(4), nn.Dropout(0.5), 0
        self.act = None if refer is None else refer(self)

    def normed(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.drop(self.norm(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.normed(x) if self.act is None else self.act(x)


class Holder:
    """An object that calls a module which it holds, as strategies and heads do."""

    def __init__(self, net: Refers) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net.normed(x)


class HolderWithSlots:
    __slots__ = ("net",)

    def __init__(self, net: Refers) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net.normed(x)


def function_with_a_default(net: Refers) -> Any:
    def act(x: Tensor, of: Refers = net, *, scale: float = 1.0) -> Tensor:
        return of.normed(x) * scale

    return act


def function_in_a_function(net: Refers) -> Any:
    def outer() -> Callable[[Tensor], Tensor]:
        return lambda x: net.drop(net.norm(x))

    return outer()


def two_with_one_variable(net: Refers) -> Any:
    found: Any = None

    def keep(x: Tensor) -> Tensor:
        nonlocal found
        found = net.normed(x)
        return x

    def act(x: Tensor) -> Tensor:
        keep(x)
        return found

    return act


def decorated(net: Refers) -> Any:
    @functools.wraps(net.normed)
    def act(*args: Any, **kwargs: Any) -> Tensor:
        return net.normed(*args, **kwargs)

    act.net = net  # type: ignore[attr-defined]
    return act


def by_reference(refer: Callable[[Any], Any]) -> Callable[[Refers], Any]:
    def make(net: Refers) -> Any:
        reference = refer(net)
        return lambda x: reference().normed(x)

    return make


def by_proxy(net: Refers) -> Any:
    proxy = weakref.proxy(net)
    return lambda x: proxy.drop(proxy.norm(x))


def in_a_container(make: Callable[[Any], Any], take: Callable[[Any], Any]) -> Callable[[Refers], Any]:
    return lambda net: functools.partial(lambda container, x: take(container)(x), make(net.normed))


def with_a_lock_beside(net: Refers) -> Any:
    """What can't be copied is shared alone, not with all that lies beside it."""
    import threading

    parts = [threading.Lock(), net.normed, (each for each in range(3))]
    return lambda x: parts[1](x) * 1


REFERENCES: dict[str, Callable[[Refers], Any]] = {
    "lambda": lambda net: lambda x: net.drop(net.norm(x)),
    "function with a default": function_with_a_default,
    "function in a function": function_in_a_function,
    "functions that share a variable": two_with_one_variable,
    "decorated function": decorated,
    "bound method": lambda net: net.normed,
    "method bound by hand": lambda net: types.MethodType(lambda self, x: self.normed(x), net),
    "partial of a method": lambda net: functools.partial(net.normed),
    "partial of a function": lambda net: functools.partial(lambda of, x: of.normed(x), net),
    "partial with a name": lambda net: functools.partial(lambda x, of: of.normed(x), of=net),
    "in a list": in_a_container(lambda method: [method], lambda found: found[0]),
    "in a tuple": in_a_container(lambda method: (1, method), lambda found: found[1]),
    "in a dict": in_a_container(lambda method: {"act": method}, lambda found: found["act"]),
    "in a defaultdict": in_a_container(
        lambda method: collections.defaultdict(lambda: method), lambda found: found["anything"]
    ),
    "in an ordered dict": in_a_container(
        lambda method: collections.OrderedDict(act=method), lambda found: found["act"]
    ),
    "as a key": in_a_container(lambda method: {method: 1}, lambda found: next(iter(found))),
    "in a set": in_a_container(lambda method: {method}, lambda found: next(iter(found))),
    "in a frozen set": in_a_container(lambda method: frozenset({method}), lambda found: next(iter(found))),
    "in a queue": in_a_container(lambda method: collections.deque([method], 3), lambda found: found[0]),
    "in a named tuple": in_a_container(
        collections.namedtuple("Acts", "first"), lambda found: found.first
    ),
    "in a namespace": in_a_container(lambda method: types.SimpleNamespace(act=method), lambda found: found.act),
    "beside a lock": with_a_lock_beside,
    "object": Holder,
    "object with slots": HolderWithSlots,
    "object in a list": lambda net: functools.partial(lambda found, x: found[0](x), [Holder(net)]),
    "weak reference": by_reference(weakref.ref),
    "weak method": lambda net: functools.partial(lambda found, x: found()(x), weakref.WeakMethod(net.normed)),
    "proxy": by_proxy,
    "cache": lambda net: functools.lru_cache(4)(net.normed),
    "no_grad as a decorator": lambda net: torch.no_grad()(net.normed),
    "compiled method": lambda net: torch.compile(net.normed, backend="eager"),
    "compiled function": lambda net: torch.compile(lambda x: net.drop(net.norm(x)), backend="eager"),
    "compiled module": lambda net: torch.compile(net.norm, backend="eager"),
    "not compiled on purpose": lambda net: torch.compiler.disable(net.normed),
}  # fmt: skip


def state_of(module: nn.Module) -> Any:
    return (
        copy.deepcopy(module.state_dict()),
        {name: each.training for name, each in module.named_modules()},
        {name: (id(each), each._version) for name, each in (*module.named_parameters(), *module.named_buffers())},
        {name: [*vars(each)] for name, each in module.named_modules()},
    )


def same_state(one: Any, other: Any) -> bool:
    return one[1:] == other[1:] and all(torch.equal(one[0][key], other[0][key]) for key in one[0])


@pytest.mark.parametrize("refer", cases(REFERENCES))
def test_a_trace_runs_the_copy_alone(refer: Callable[[Refers], Any]) -> None:
    """The module's own batch norm is in training mode: if it ran, it would be unknown, and its statistics move."""
    torch.manual_seed(0)
    module = Refers(refer).train()
    before = state_of(module)
    graph = trace(module, EXAMPLE)
    assert same_state(state_of(module), before)
    assert module.calls == 0
    assert [name for name in kinds(graph) if name != "Elementwise"] == ["BatchNorm"]
    assert not graph.unknown()
    names = {weight.name.replace("act._orig_mod", "norm") for node in graph.nodes for _, weight in node.op.weights()}
    assert {"norm.running_mean", "norm.weight"} <= names, "parameters are known by their paths, not as constants"
    x = torch.randn(3, 4)
    with torch.no_grad():
        assert distance(run(graph, x), [Refers(None).eval()(x)]) <= 1e-6


def test_a_reference_to_itself_calls_the_copy() -> None:
    """Whatever the copy is asked for is the copy's: identity is kept within it."""
    module = Refers(lambda net: [net, net.norm, {"net": net}])
    made = copy_of(module).module
    assert made.act[0] is made is made.act[2]["net"] is not module
    assert made.act[1] is made.norm is not module.norm


# --- parts that are not registered ---


class Hides(nn.Module):
    """Layers in a plain list: torch does not know them as parts."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(4, 4), nn.BatchNorm1d(4)]
        self.by_name = {"head": (nn.Linear(4, 2, dtype=torch.float64), nn.Dropout(0.5))}

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        head, drop = self.by_name["head"]
        return drop(head(x.to(head.weight.dtype)))


def test_parts_in_plain_containers_are_copied() -> None:
    """In evaluation mode and single precision, as all of the copy."""
    module = Hides().train()
    before = [state_of(each) for each in (*module.layers, *module.by_name["head"])]
    graph = trace(module, EXAMPLE)
    after = [state_of(each) for each in (*module.layers, *module.by_name["head"])]
    assert all(map(same_state, before, after))
    assert kinds(graph) == ["Dense", "BatchNorm", "Dense"]
    assert profile(module, EXAMPLE).macs == 4 * 4 + 4 * 2


def test_hidden_lazy_layers_are_named() -> None:
    module = Refers(lambda net: [nn.LazyLinear(3)])
    with pytest.raises(TraceError, match="Refers has lazy layers: run it once"):
        trace(module, EXAMPLE)


def test_weights_without_values_are_named() -> None:
    with pytest.raises(TraceError, match=r"Linear has tensors without values .on the meta device."):
        trace(nn.Linear(4, 2, device="meta"), EXAMPLE)


# --- torch.compile and torch.jit.script ---


def small(make: Callable[[nn.Module], nn.Module] = lambda module: module) -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
    return nn.Sequential(make(inner), nn.Flatten(), nn.Linear(288, 4)).train()


IMAGE = torch.zeros(1, 3, 8, 8)
# By hand: 8 * 6 * 6 outputs of 3 * 3 * 3 products, then 288 * 4; weights, biases and 8 B for each channel.
MACS = 8 * 6 * 6 * 27 + 288 * 4
FLASH = 8 * 27 + 8 * 12 + 288 * 4 + 4 * 12

COMPILED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": lambda module: torch.compile(module, backend="eager"),
    "compiled in place": lambda module: (module.compile(backend="eager"), module)[1],
    "compiled within": lambda module: nn.Sequential(torch.compile(module, backend="eager")),
    "scripted": torch.jit.script,
    "traced by jit": lambda module: torch.jit.trace(module.eval(), torch.zeros(2, 3, 8, 8)),
    "frozen": lambda module: torch.jit.freeze(torch.jit.script(module.eval())),
    "symbolically traced": torch.fx.symbolic_trace,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("make", cases(COMPILED))
def test_compiled_and_scripted_parts_cost_what_they_are_made_of(make: Callable[[nn.Module], nn.Module]) -> None:
    module, plain = small(make), small()
    before = state_of(module)
    report = profile(module, IMAGE)
    assert same_state(state_of(module), before)
    assert (report.macs, report.flash_bytes) == (MACS, FLASH)
    rows, wanted = (
        [(layer.macs, layer.flash_bytes, layer.ram_bytes, layer.params) for layer in found.layers]
        for found in (report, profile(plain, IMAGE))
    )
    if make is not COMPILED["frozen"]:  # whose parameters are constants
        assert rows == wanted
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        wanted = plain.eval()(x)
    assert distance(run(trace(module, IMAGE), x), [wanted]) <= 1e-5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_as_a_whole() -> None:
    report = profile(torch.jit.script(small()), IMAGE)
    assert (report.macs, report.flash_bytes) == (MACS, FLASH)


def test_paths_of_compiled_parts() -> None:
    """They are those of ``named_parameters``; bits may be given with or without what torch.compile adds."""
    module = small(COMPILED["compiled"])
    report = profile(module, IMAGE)
    assert [layer.path for layer in report.layers] == ["0._orig_mod.0", "2"]
    assert set(trace(module, IMAGE).parameters) == {name for name, _ in module.named_parameters()}
    halved = FLASH - 8 * 27 // 2
    for path in ("0._orig_mod.0", "0.0", "0", "0._orig_mod"):
        assert profile(module, IMAGE, BitWidths(8, 8, {path: 4})).flash_bytes == halved
    with pytest.raises(UserError, match=r"there is no layer '0\.9' with weights"):
        profile(module, IMAGE, BitWidths(8, 8, {"0.9": 4}))


def test_a_compiled_part_answers_as_it_did() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), backend="eager")

        def forward(self, x: Tensor) -> Tensor:
            assert len(self.net) == 2
            assert hasattr(self.net, "_orig_mod")
            return F.linear(self.net(x), self.net.get_submodule("1").weight.T)

    assert profile(Asks(), EXAMPLE).macs == 4 * 4 + 4 * 2 + 2 * 4


# --- what can't be copied ---


class Uncopyable:
    """An object of an extension, say."""

    def __init__(self, net: Refers) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net.normed(x)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("it can't be pickled")


def by_generator(net: Refers) -> Any:
    def steps() -> Any:
        x = yield
        while True:
            x = yield net.normed(x)

    running = steps()
    next(running)
    return running.send


@pytest.mark.parametrize("refer", [Uncopyable, by_generator])
def test_what_can_not_be_copied_is_named_before_it_changes_the_module(refer: Callable[[Refers], Any]) -> None:
    module = Refers(refer).train()
    before = state_of(module)
    with pytest.raises(TraceError, match=r"Refers can't be traced.*refers to its own norm by something that can't be"):
        trace(module, EXAMPLE)
    assert same_state(state_of(module), before)


def test_a_copy_that_runs_its_original_is_an_error() -> None:
    """Also outside of a trace, as for parity's own outputs."""
    module = Refers(Uncopyable).train()
    copied = copy_of(module)
    with copied.running(), pytest.raises(TraceError, match="refers to its own norm"):
        copied.module(torch.zeros(2, 4))
    assert module.norm.num_batches_tracked == 0
    with contextlib.suppress(TypeError):
        module(torch.zeros(2, 4))
    assert module.norm.num_batches_tracked == 1, "the original runs again afterwards"


# --- what a trace leaves behind ---


@functools.lru_cache
def positions(count: int) -> Tensor:
    return torch.arange(float(count))


class Cached(nn.Module):
    """Uses a table that is kept for all modules, and one that is kept for its class."""

    def forward(self, x: Tensor) -> Tensor:
        return x + positions(x.shape[1]) * self.gain(x.shape[1])

    @functools.cache  # noqa: B019 - as people write it
    def gain(self, count: int) -> Tensor:
        return torch.full((count,), 2.0)


def test_caches_hold_no_tensors_of_a_trace() -> None:
    positions.cache_clear()
    module, x = Cached(), torch.randn(2, 5)
    graph = trace(module, torch.zeros(1, 5))
    assert torch.equal(module(x), x + 2 * torch.arange(5.0))
    assert distance(run(graph, x), [module(x)]) <= 1e-6
    assert positions.cache_info().currsize == 1


def test_lists_outside_hold_no_tensors_of_a_trace() -> None:
    """As of a hook that keeps activations, which are looked at after training."""
    module, kept, by_layer = Refers(None), [], collections.defaultdict(list)
    module.norm.register_forward_hook(lambda layer, args, output: kept.append(output))
    module.register_forward_hook(lambda layer, args, output: by_layer[type(layer).__name__].append(output))
    trace(module, EXAMPLE)
    assert (kept, by_layer) == ([], {})
    module(torch.zeros(2, 4))
    assert (len(kept), len(by_layer["Refers"])) == (1, 1), "the hooks are still those of this module"


def test_a_handle_of_a_hook_is_the_copy_s() -> None:
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.handle = self.layer.register_forward_hook(lambda layer, args, output: output * 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            self.handle.remove()
            return y

    module = Once()
    assert kinds(trace(module, EXAMPLE)) == ["Dense", "Elementwise"]
    assert len(module.layer._forward_hooks) == 1


class Counts(nn.Module):
    """A module that others find as a global variable; it is in training mode, and keeps what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.calls, self.last, self.kept = nn.BatchNorm1d(4), 0, None, []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x
        self.kept.append(x)
        return self.norm(x)


SHARED = Counts()


class UsesAGlobal(nn.Module):
    by_class = Counts()

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(SHARED(x) + self.by_class(x))


@pytest.mark.parametrize("training", [True, False])
def test_modules_outside_stay_as_they_were(training: bool) -> None:
    """They can't be copied: what a trace does to them is undone."""
    outside = (SHARED.train(training), UsesAGlobal.by_class.train(training))
    before = [state_of(each) for each in outside]
    if training:
        with pytest.raises(TraceError, match="Expected more than 1 value per channel when training"):
            trace(UsesAGlobal(), EXAMPLE)
    else:
        assert kinds(trace(UsesAGlobal(), EXAMPLE)).count("BatchNorm") == 2
    assert all(torch.equal(one[0][key], each.state_dict()[key]) for one, each in zip(before, outside, strict=True)
               for key in one[0])  # fmt: skip
    assert [(each.calls, each.last, each.kept, each.training) for each in outside] == [(0, None, [], training)] * 2


def test_a_trainer_is_not_copied() -> None:
    """Nor what it holds: it would copy the data, and a copy must not log."""

    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    class Outputs(pl.Callback):
        """Keeps what a layer returns, as people do it."""

        def __init__(self, trainer: pl.Trainer) -> None:
            self.trainer, self.kept = trainer, []

        def keep(self, layer: nn.Module, args: Any, output: Tensor) -> None:
            self.kept.append(output)

    module, trainer = Net(), pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    callback = Outputs(trainer)
    module.layer.register_forward_hook(callback.keep)
    module.helper = {"trainer": trainer, "data": torch.utils.data.TensorDataset(torch.zeros(3))}
    copied = copy_of(module)
    (hook,) = copied.module.layer._forward_hooks.values()
    assert hook.__self__ is not callback
    assert hook.__self__.trainer is trainer
    assert copied.module.helper == module.helper
    trace(module, EXAMPLE)
    assert callback.kept == []


def test_values_keep_their_kinds() -> None:
    shared = np.arange(3)
    kept = {
        "ordered": collections.OrderedDict(b=1, a=2),
        "counter": collections.Counter("aab"),
        "queue": collections.deque([1, 2, 3], maxlen=2),
        "arrays": [shared, shared],
        "size": torch.Size([1, 2]),
        "nested": (frozenset({1}), {2}, [{"x": (3, [4])}]),
        "function": F.relu,
        "type": nn.Linear,
    }
    made = copy_of(Refers(lambda net: kept)).module.act
    assert made is not kept
    assert {name: type(value) for name, value in made.items()} == {name: type(value) for name, value in kept.items()}
    assert made["arrays"][0] is made["arrays"][1] is not shared
    assert (made["queue"].maxlen, list(made["queue"])) == (2, [2, 3])
    assert [*made["ordered"]] == ["b", "a"]
    assert made["counter"] == kept["counter"]
    assert made["nested"] == kept["nested"]
    assert made["nested"][2][0] is not kept["nested"][2][0]
    assert made["function"] is F.relu
    assert made["size"] == torch.Size([1, 2])
