"""Tracing leaves the caller's module and process alone, and says what it can't trace."""

from __future__ import annotations

import contextlib
import copy
import logging
import random
import threading
from collections.abc import Callable
from typing import Any

import lightning as L  # noqa: N812
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.weight_norm import weight_norm
from torch.utils._traceback import CapturedTraceback

from mcubench.errors import UserError
from mcubench.graph import TraceError, deploy, one_sample, ops, trace
from tests.graph.compare import Forward, call, cases, distance, kinds, run, same_as_module


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 2)
    )


SMALL = torch.zeros(1, 3, 6, 6)


class Everything(nn.Module):
    """Changes what it can while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small()
        self.net[1].eval()  # frozen, as fine-tuning has it
        self.register_buffer("seen", torch.zeros(()))
        self.observer = torch.ao.quantization.MovingAverageMinMaxObserver()
        self.calls = 0
        self.cache: list[Any] = []
        self.by_name = {"last": None}
        self.net[0].weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.cache.append(x.shape)
        self.by_name["last"] = x.shape
        self.seen += 1
        self.net.train()
        self.net.eval()
        return self.net(x)


def test_state_and_modes_stay() -> None:
    module = Everything().train()
    module.net[1].eval()
    state = copy.deepcopy(module.state_dict())
    modes = {name: each.training for name, each in module.named_modules()}
    tensors = {name: (id(each), each.requires_grad, each._version) for name, each in module.named_parameters()}
    buffers = {name: (id(each), each._version) for name, each in module.named_buffers()}
    assert True in modes.values()
    assert False in modes.values()
    trace(module, SMALL)
    assert list(module.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert {name: each.training for name, each in module.named_modules()} == modes
    assert {n: (id(each), each.requires_grad, each._version) for n, each in module.named_parameters()} == tensors
    assert {name: (id(each), each._version) for name, each in module.named_buffers()} == buffers
    assert (module.calls, module.cache, module.by_name) == (0, [], {"last": None})


def test_gradients_stay_and_training_goes_on() -> None:
    module = small().train()
    module(torch.randn(4, 3, 6, 6)).sum().backward()
    gradients = [each.grad.clone() for each in module.parameters()]
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    graph = trace(module, SMALL)
    assert all(torch.equal(each.grad, gradient) for each, gradient in zip(module.parameters(), gradients, strict=True))
    before = [weight.tensor.clone() for node in graph.nodes for _, weight in node.op.weights()]
    optimiser.step()
    after = [weight.tensor for node in graph.nodes for _, weight in node.op.weights()]
    assert all(map(torch.equal, before, after)), "a graph is of the moment when it was traced"
    assert not torch.equal(before[0], module[0].weight)


def test_the_trace_is_of_inference_whatever_the_mode() -> None:
    module = small().train()
    graph = trace(module, SMALL)
    x = torch.randn(3, 3, 6, 6)
    assert distance(run(graph, x), call(module.eval(), x)) <= 1e-6
    assert kinds(graph) == ["Conv", "BatchNorm", "Activation", "Reshape", "Dense"]


def test_hooks_stay_and_run() -> None:
    module = small()
    handles = [
        module[0].register_forward_hook(lambda layer, args, output: output * 2),
        module[0].register_forward_pre_hook(lambda layer, args: (args[0] + 1,)),
        module.register_forward_hook(lambda layer, args, kwargs, output: output, with_kwargs=True),
        module[2].register_full_backward_hook(lambda *args: None),
        module.register_state_dict_pre_hook(lambda *args: None),
    ]
    found = lambda: [  # noqa: E731
        {name: dict(value) for name, value in vars(each).items() if "_hooks" in name} for each in module.modules()
    ]
    before = found()
    graph = same_as_module(module, SMALL)  # with what the hooks do
    assert found() == before
    assert {node.op.label for node in graph.nodes} >= {"add", "mul"}
    for handle in handles:
        handle.remove()
    assert not any(any(each.values()) for each in found()), "the handles are still those of this module"


class Tap(nn.Module):
    """Reads an inner layer's output by a hook that is a method, as feature extractors do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.saved: Any = None
        self.layer.register_forward_hook(self.save)

    def save(self, layer: nn.Module, args: Any, output: Tensor) -> None:
        self.saved = output

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * 0 + self.saved.relu()


def test_hooks_that_are_methods_belong_to_the_copy() -> None:
    same_as_module(Tap(), torch.zeros(1, 4))


def test_hooks_that_are_methods_leave_the_module_alone() -> None:
    module = Tap()
    with contextlib.suppress(TraceError):
        trace(module, torch.zeros(1, 4))
    assert module.saved is None


class Draws(nn.Module):
    def __init__(self, draw: Callable[[], Any]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: Tensor) -> Tensor:
        self.draw()
        return F.dropout(x, training=self.training) * 2


def python_state() -> Any:
    return random.getstate()


def numpy_state() -> Any:
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return keys.tolist(), rest


def torch_state() -> Any:
    return torch.get_rng_state().tolist()


@pytest.mark.parametrize(
    ("draw", "state"),
    cases(
        {
            "torch": (lambda: torch.rand(3), torch_state),
            "torch seeded": (lambda: torch.manual_seed(1), torch_state),
            "numpy": (lambda: np.random.rand(), numpy_state),  # noqa: NPY002, PLW0108
            "python": (lambda: random.random(), python_state),  # noqa: PLW0108
        },
    ),
)
def test_random_state_stays(draw: Callable[[], Any], state: Callable[[], Any]) -> None:
    before = state()
    trace(Draws(draw), torch.zeros(1, 4))
    assert state() == before


@pytest.mark.parametrize("state", [torch_state, numpy_state, python_state])
def test_random_state_stays_if_nothing_is_drawn(state: Callable[[], Any]) -> None:
    module = small()
    before = state()
    trace(module, SMALL)
    assert state() == before


def fails(x: Tensor) -> Tensor:
    raise ValueError("on purpose")


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("on", [True, False])
def test_switches_of_the_process_stay(on: bool, works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch._export", "torch.fx", "torch._dynamo")]
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) if works else Forward(fails)
    fastpath, deterministic = torch.backends.mha.get_fastpath_enabled(), torch.are_deterministic_algorithms_enabled()
    threads, dtype, device = torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()
    kernels = dict(torch.ops.aten.lstm.input.py_kernels)
    levels = [logger.level for logger in loggers]
    try:
        torch.backends.mha.set_fastpath_enabled(on)
        torch.use_deterministic_algorithms(on)
        with torch.set_grad_enabled(on):
            try:
                trace(module, torch.zeros(1, 7, 8))
            except TraceError:
                assert not works
            assert torch.is_grad_enabled() == on
        assert torch.backends.mha.get_fastpath_enabled() == on
        assert torch.are_deterministic_algorithms_enabled() == on
        assert (torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()) == (
            threads,
            dtype,
            device,
        )
        assert torch.ops.aten.lstm.input.py_kernels == kernels
        assert [logger.level for logger in loggers] == levels
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        torch.use_deterministic_algorithms(deterministic)


def test_torch_is_not_asked_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes that up for whoever listens, as pytest does; whoever did listens afterwards, too."""
    structured, made = logging.getLogger("torch.__trace"), []
    extract = CapturedTraceback.extract
    monkeypatch.setattr(
        CapturedTraceback, "extract", lambda *args, **kwargs: made.append(1) or extract(*args, **kwargs)
    )
    listening = [logging.NullHandler()]
    monkeypatch.setattr(structured, "handlers", listening)
    torch.export.export(nn.Linear(3, 2), (torch.ones(1, 3),))
    assert made, "the question was put in the right way"
    structured.handlers = listening
    made.clear()
    trace(nn.Linear(3, 2), torch.ones(1, 3))
    assert not made
    assert structured.handlers is listening
    with pytest.raises(TraceError):
        trace(Forward(fails), torch.ones(1, 3))
    assert structured.handlers is listening


def test_the_example_stays() -> None:
    x = torch.randn(1, 4, requires_grad=True)
    before = x.detach().clone()
    trace(Forward(lambda x: (x + 0).mul_(3)), x)
    assert torch.equal(x, before)
    assert x.requires_grad
    example = {"x": torch.ones(1, 4)}
    trace(Forward(lambda x: x.mul_(3) + 1), example)
    assert torch.equal(example["x"], torch.ones(1, 4))


# --- modules of all kinds ---


class Lit(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(-1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self.traced = trace(self, torch.zeros(1, 4))
        return self(batch[0]).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_lightning_module_while_it_trains(tmp_path: Any) -> None:
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, 4)), 2)
    module = Lit()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, data)
    assert kinds(module.traced) == ["Dense", "Softmax"]
    assert module.trainer is trainer
    assert kinds(same_as_module(module, torch.zeros(1, 4))) == ["Dense", "Softmax"]


UNCOPYABLE: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "generator": lambda: (each for each in range(3)),
    "torch generator": torch.Generator,
    "tensor with a history": lambda: torch.ones(4, requires_grad=True) * 2,
    "lambda": lambda: lambda x: x,
    "open file": lambda: open("/dev/null"),  # noqa: SIM115, PTH123
    "module": lambda: torch,
}


@pytest.mark.parametrize("make", cases(UNCOPYABLE))
def test_attributes_that_cannot_be_copied(make: Callable[[], Any]) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    module.thing = make()
    module[0].things = [make()]
    things = module.thing, module[0].things[0]
    assert kinds(same_as_module(module, torch.zeros(1, 4))) == ["Dense", "Activation"]
    assert (module.thing, module[0].things[0]) == things if not isinstance(things[0], Tensor) else True


def test_a_tensor_with_a_history_is_a_constant() -> None:
    module = Forward(lambda x: x * module.gain)
    module.gain = torch.full((4,), 3.0, requires_grad=True) * 2
    graph = trace(module, torch.zeros(1, 4))
    assert torch.equal(run(graph, torch.ones(2, 4))[0], torch.full((2, 4), 6.0))
    assert graph.parameters == {}


@pytest.mark.parametrize("first", ["embedding", "linear"])
def test_tied_weights_count_once(first: str) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("embedding", "linear") if first == "embedding" else ("linear", "embedding"):
                setattr(self, name, nn.Embedding(7, 4) if name == "embedding" else nn.Linear(4, 7, bias=False))
            self.linear.weight = self.embedding.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.embedding(x))

    graph = same_as_module(Tied(), torch.zeros(1, 5, dtype=torch.int64))
    assert graph.parameters == {f"{first}.weight": 28}
    names = {weight.name for node in graph.nodes for _, weight in node.op.weights()}
    assert len(names) == 1, "one tensor in flash"


def test_tied_weights_are_named_as_the_parameters_are() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    graph = same_as_module(module, torch.zeros(1, 4))
    sources = {source for node in graph.nodes for _, weight in node.op.weights() for source in weight.sources}
    assert sources == set(graph.parameters) == {"0.weight", "0.bias", "2.bias"}


def test_a_shared_submodule_has_its_parameters_once() -> None:
    shared = nn.Linear(4, 4)
    module = nn.Sequential(shared, nn.ReLU(), shared)
    graph = same_as_module(module, torch.zeros(1, 4))
    assert kinds(graph) == ["Dense", "Activation", "Dense"]
    assert graph.parameters == {"0.weight": 16, "0.bias": 4}
    assert module[0] is module[2] is shared


def test_frozen_and_unused_parameters_are_counted() -> None:
    module = Forward(lambda used, unused, x: used(x), nn.Linear(4, 3), nn.Linear(5, 5))
    module.layers[0].weight.requires_grad_(False)
    graph = same_as_module(module, torch.zeros(1, 4))
    assert graph.parameters == {"layers.0.weight": 12, "layers.0.bias": 3, "layers.1.weight": 25, "layers.1.bias": 5}


def in_no_grad(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        features = layer(x)
    return features.relu()


def in_place(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    y += 1
    y.mul_(2).clamp_(min=0)
    return F.relu_(y.sub_(0.5))


def doubled_in_place(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    return y + F.relu_(y)


ORDINARY: dict[str, Callable[[], nn.Module]] = {
    "no_grad": lambda: Forward(in_no_grad, nn.Conv2d(3, 4, 3)),
    "no_grad as decorator": lambda: Forward(torch.no_grad()(lambda layer, x: layer(x)), nn.Conv2d(3, 4, 3)),
    "in place": lambda: Forward(in_place, nn.Conv2d(3, 4, 3)),
    "relu in place": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Hardswish(inplace=True)),
    "in place on both sides": lambda: Forward(doubled_in_place, nn.Conv2d(3, 4, 3)),
    "weight norm": lambda: nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), weight_norm(nn.Linear(64, 2))),
    "weight norm parametrised": lambda: parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)),
    "spectral norm legacy": lambda: nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)),
    "orthogonal": lambda: nn.Sequential(nn.Flatten(), parametrizations.orthogonal(nn.Linear(108, 5))),
    "pruned": lambda: nn.utils.prune.random_unstructured(nn.Conv2d(3, 4, 3), "weight", 0.5),
    "graph module": lambda: fx.symbolic_trace(small()),
    "data parallel": lambda: nn.DataParallel(small()),
    "a module that is not registered": lambda: Forward(nn.Conv2d(3, 4, 3).eval().__call__),
    "half of a buffer": lambda: small().double().float(),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("make", cases(ORDINARY))
def test_modules_as_people_write_them(make: Callable[[], nn.Module]) -> None:
    same_as_module(make(), SMALL)


def test_enable_grad_is_at_least_named() -> None:
    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return layer(x)

    graph = trace(Forward(forward, nn.Conv2d(3, 4, 3)), SMALL)
    assert kinds(graph) == ["Conv"] or [node.op.target for node in graph.unknown()] == ["wrap_with_set_grad_enabled"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules() -> None:
    module = torch.jit.script(small().eval())
    try:
        graph = trace(module, SMALL)
    except TraceError:
        return
    x = torch.randn(3, 3, 6, 6)
    assert distance(run(graph, x), call(module, x)) <= 1e-5


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_is_computed_ahead(legacy: bool) -> None:
    module = (weight_norm if legacy else parametrizations.weight_norm)(nn.Conv2d(3, 4, 3))
    graph = trace(module, SMALL)
    (node,) = graph.nodes
    assert torch.allclose(node.op.weight.tensor, module.weight)
    assert len(node.op.weight.sources) == 2, "magnitude and direction"
    assert set(node.op.weight.sources) <= set(graph.parameters)
    assert sum(graph.parameters.values()) == 108 + 4 + 4
    assert legacy or parametrize.is_parametrized(module)


def test_a_cache_that_fills_in_forward() -> None:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask: Any = None

        def forward(self, x: Tensor) -> Tensor:
            if self.mask is None:
                self.mask = torch.linspace(0, 1, 5)
            return x.view(1, -1) * self.mask  # so that a batch fails, after the cache was filled

    module = Cached()
    graph = trace(module, torch.zeros(1, 5))
    assert module.mask is None
    x = torch.randn(1, 5)
    assert distance(run(graph, x), call(module, x)) <= 1e-6


def test_a_module_for_single_samples_is_traced_with_a_note() -> None:
    module = Forward(lambda conv, head, x: head(conv(x).view(1, -1)), nn.Conv2d(3, 4, 3), nn.Linear(64, 5)).eval()
    graph = trace(module, SMALL)
    assert "single sample" in graph.notes[0]
    assert trace(module.layers[0], SMALL).notes == ()
    assert graph.outputs[0].shape == (5,)
    x = torch.randn(1, 3, 6, 6)
    assert distance(run(graph, x), call(module, x)) <= 1e-6
    assert distance(run(deploy(graph), x), call(module, x)) <= 1e-6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_quantisation_switches_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).train()
    module.qconfig = torch.ao.quantization.QConfig(
        torch.ao.quantization.FakeQuantize.with_args(), torch.ao.quantization.default_weight_fake_quant
    )
    torch.ao.quantization.prepare_qat(module, inplace=True)
    module(torch.randn(8, 4))
    state = copy.deepcopy(module.state_dict())
    graph = trace(module, torch.zeros(1, 4))
    assert not graph.unknown()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert list(state) == list(module.state_dict())


# --- what can't be traced ---


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


def test_branches_on_values() -> None:
    with pytest.raises(TraceError, match=r"Branches can't be traced with input \(1, 4, 5\).*depend on computed values"):
        trace(Branches(), torch.zeros(1, 4, 5))


def test_a_failing_trace_says_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    """On the command line the message alone is shown; torch prints the graph it was at."""
    with pytest.raises(TraceError):
        trace(Branches(), torch.zeros(1, 4, 5))
    assert capfd.readouterr() == ("", "")


def test_a_forward_that_fails() -> None:
    with pytest.raises(TraceError, match=r"Forward can't be traced with input \(1, 4\): ValueError: on purpose"):
        trace(Forward(fails), torch.zeros(1, 4))


@pytest.mark.parametrize("shape", [(1, 2, 6, 6), (1, 3, 2, 6), (1, 108)])
def test_a_wrong_input_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(TraceError, match="Sequential can't be traced with input") as error:
        trace(small(), torch.zeros(shape))
    assert str(shape) in str(error.value)
    assert "give another example input" in str(error.value)


@pytest.mark.parametrize(
    ("module", "example"),
    [(nn.LazyLinear(3), torch.zeros(1, 4)), (nn.Sequential(nn.LazyConv2d(3, 3), nn.LazyBatchNorm2d()), SMALL)],
)
def test_lazy_modules(module: nn.Module, example: Tensor) -> None:
    name = type(module).__name__
    with pytest.raises(TraceError, match=f"{name} has lazy layers: run it once before it is traced"):
        trace(module, example)
    module(example.repeat(2, *(1,) * (example.ndim - 1)))
    assert not trace(module, example).unknown()


@pytest.mark.parametrize(
    ("example", "batch_dim", "message"),
    [
        (torch.zeros(4, 3, 6, 6), 0, r"must be one sample.*\(4, 3, 6, 6\).*x\[:1\].*batch_dim"),
        ((torch.zeros(1, 3), torch.zeros(2, 3)), 0, r"must be one sample.*\(2, 3\)"),
        ({"x": [torch.zeros(3, 4)]}, 0, r"must be one sample.*\(3, 4\)"),
        (torch.zeros(1, 3), 1, r"with 1 along axis 1.*\(1, 3\)"),
        ((), 0, "has no tensor in it; give one sample"),
        ({"x": 3, "y": None}, 0, "has no tensor in it"),
        (None, 0, "has no tensor in it"),
        (np.zeros((1, 3), np.float32), 0, "has no tensor in it"),
        (torch.zeros(1, 3), -1, "batch_dim must be 0 or more"),
    ],
)
def test_examples_that_are_not_one_sample(example: Any, batch_dim: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        trace(small(), example, batch_dim)


def test_one_sample_of_a_batch() -> None:
    batch = {
        "x": torch.arange(12.0).view(4, 3),
        "deep": [(torch.ones(4, 2, requires_grad=True), 7)],
        "n": torch.tensor(3),
    }
    one = one_sample(batch)
    assert torch.equal(one["x"], torch.tensor([[0.0, 1.0, 2.0]]))
    assert one["deep"][0][0].shape == (1, 2)
    assert not one["deep"][0][0].requires_grad
    assert one["deep"][0][1] == 7
    assert one["n"].ndim == 0
    assert one_sample(torch.zeros(5, 4, 3), 1).shape == (5, 1, 3)


def test_a_module_that_looks_at_the_size_of_its_batch() -> None:
    def forward(x: Tensor) -> Tensor:
        assert x.shape[0] <= 8, "too many"
        return x * 2

    graph = trace(Forward(forward), torch.zeros(1, 4))
    assert "single sample" in graph.notes[0]
    assert isinstance(graph.nodes[0].op, ops.Elementwise)
