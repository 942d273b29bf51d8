"""`assert_parity`, as somebody else's tests use it."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.parity import load_keras, to_keras
from mcubench.testing import assert_parity

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")


def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 3)
    )
    made(torch.randn(50, 1, 8, 8))  # running statistics of their own
    return made


X = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor, by: Tensor) -> Tensor:
        return self.value(x) * self.gate(by).sigmoid()


def tampered(path: str, change: float) -> Any:
    """The Keras model of `net`, in which the first weights of a layer are off."""
    model = to_keras(net(), X[:1])
    layer = model.get_layer(path)
    first, *rest = layer.get_weights()
    layer.set_weights([first + change, *rest])
    return model


def test_the_same_computation_passes() -> None:
    assert assert_parity(net(), X) is None
    assert_parity(net(), X[:1], 1e-5)
    assert_parity(net(), X, keras_model=to_keras(net(), X[:1]))


@pytest.mark.parametrize(("path", "op"), [("0", "Conv 3x3"), ("1", "BatchNorm"), ("5", "Dense")])
def test_it_fails_with_the_first_layer_that_differs(path: str, op: str) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_parity(net(), X, keras_model=tampered(path, 0.1))
    verdict, *layers = str(caught.value).splitlines()
    assert verdict.startswith(
        f"Sequential differs from Keras ({load_keras().backend.backend()}): first at {path} ({op})"
    )
    assert verdict.endswith("allowed 0.0001")
    marks = {line.split()[2]: line.split()[0] for line in layers}
    assert list(marks) == ["0", "1", "2", "4", "5"], "all layers are named, dropout is none at inference"
    assert [mark for name, mark in marks.items() if name < path] == ["ok"] * list(marks).index(path)
    assert all(mark == "NO" for name, mark in marks.items() if name >= path)


def test_the_tolerance_decides() -> None:
    model = tampered("5", 1e-3)
    assert_parity(net(), X, 0.5, keras_model=model)
    with pytest.raises(AssertionError, match=r"first at 5 \(Dense\).*allowed 1e-05"):
        assert_parity(net(), X, 1e-5, keras_model=model)


def test_a_layer_too_few_fails_by_name() -> None:
    model = load_keras()
    shorter = model.Sequential([model.Input((8, 8, 1)), model.layers.Conv2D(4, 3), model.layers.Flatten()])
    with pytest.raises(AssertionError) as caught:
        assert_parity(net(), X, keras_model=shorter)
    for name in ("1 (BatchNorm)", "5 (Dense)"):
        assert f"PyTorch has {name}, which Keras lacks" in str(caught.value)


def test_a_failure_shows_the_callers_line() -> None:
    """And no frame of ours: pytest hides functions with __tracebackhide__."""
    with pytest.raises(AssertionError) as caught:
        assert_parity(net(), X, 1e-30)
    visible = [entry for entry in caught.traceback if not entry.ishidden(caught)]
    assert [Path(entry.path) for entry in visible] == [Path(__file__)]
    assert len(caught.traceback) == 2


def test_several_inputs() -> None:
    x, by = torch.randn(6, 4), torch.randn(6, 2)
    assert_parity(Gated(), (x, by))
    assert_parity(Gated(), {"by": by, "x": x})
    assert_parity(nn.LSTM(3, 4), torch.randn(7, 5, 3), batch_dim=1)


def test_samples_that_are_none() -> None:
    with pytest.raises(UserError, match="has no sample along axis 0"):
        assert_parity(net(), X[:0])
    with pytest.raises(UserError, match="as many in each"):
        assert_parity(Gated(), (torch.randn(6, 4), torch.randn(5, 2)))


def test_another_backend_than_the_process_has() -> None:
    has = load_keras().backend.backend()
    assert_parity(net(), X, backend=has)
    with pytest.raises(UserError, match="KERAS_BACKEND"):
        assert_parity(net(), X, backend={"tensorflow": "torch", "torch": "tensorflow"}[has])


def test_what_keras_has_no_counterpart_of() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x).abs()

    with pytest.raises(UserError, match=r"can't be built in Keras: 1: .*fft_rfft"):
        assert_parity(nn.Sequential(nn.Linear(3, 8), Spectrum()), torch.randn(2, 3))


def test_the_module_is_left_as_it_was() -> None:
    module = net().double().train()
    ran_on: list[nn.Module] = []
    module[0].register_forward_hook(lambda layer, *_: ran_on.append(layer))
    module[5].register_forward_pre_hook(lambda layer, *_: ran_on.append(layer))
    module[5].weight.requires_grad_(False)
    module(X.double()).sum().backward()
    ran_on.clear()
    before, x = copy.deepcopy(module.state_dict()), X.double().requires_grad_()
    grads = [None if each.grad is None else each.grad.clone() for each in module.parameters()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - whoever still uses it
    precision = torch.get_default_dtype()

    assert_parity(module, x)

    assert all(each.training for each in module.modules())
    assert not {module[0], module[5]} & set(ran_on), "only copies ran"
    assert len(module[0]._forward_hooks) == len(module[5]._forward_pre_hooks) == 1
    assert {key: value.dtype for key, value in module.state_dict().items()} == {k: v.dtype for k, v in before.items()}
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    for parameter, grad in zip(module.parameters(), grads, strict=True):
        assert (parameter.grad is None) if grad is None else torch.equal(parameter.grad, grad)
    assert [each.requires_grad for each in module.parameters()] == [True] * 4 + [False, True]
    assert x.grad is None
    assert x.dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert torch.get_default_dtype() == precision
    assert torch.is_grad_enabled()


def test_a_hook_that_changes_an_output_is_part_of_the_module() -> None:
    module = net()
    unhooked = to_keras(module, X[:1])
    module[5].register_forward_hook(lambda layer, args, output: 2 * output)
    assert_parity(module, X)
    with pytest.raises(AssertionError):
        assert_parity(module, X, keras_model=unhooked)


def test_the_keras_model_is_left_as_it_was() -> None:
    model = to_keras(net(), X[:1])
    before = [each.copy() for each in model.get_weights()]
    calls = {layer.name: layer.call for layer in model.layers}
    assert_parity(net(), X, keras_model=model)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    assert {layer.name: layer.call for layer in model.layers} == calls


def test_a_stride_wider_than_the_input() -> None:
    """There, tensorflow's own kernels for the CPU are right, and those of oneDNN read past the end."""
    torch.manual_seed(0)
    narrow = nn.Sequential(nn.Conv2d(1, 1, (1, 2)), nn.Conv2d(1, 1, (1, 2), (1, 3)))
    assert_parity(narrow, torch.randn(3, 1, 3, 3))
