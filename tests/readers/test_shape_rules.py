"""Shapes that are told without torch's kernels in Python: those of the kernels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mcubench.readers.shape_rules import SHAPE_RULES, made_by

ATEN: Any = torch.ops.aten


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


ROUNDING = ATEN.fake_quantize_per_tensor_affine.default
IMAGE = meta(5, 4, 9, 7)
STATE = [meta(1, 5, 6), meta(1, 5, 6)]
GATES = [meta(24, 7), meta(24, 6), meta(24), meta(24)]

CALLS: list[tuple[Any, tuple[Any, ...]]] = [
    (ATEN.relu.default, (IMAGE,)),
    (ATEN.hardtanh.default, (IMAGE, 0.0, 6.0)),
    (ATEN.leaky_relu.default, (IMAGE, 0.1)),
    (ATEN.add.Tensor, (IMAGE, meta(7))),
    (ATEN.mul.Tensor, (meta(5, 1, 9, 1), meta(4, 1, 7))),
    (ATEN.sub.Tensor, (IMAGE, 2.0)),
    (ATEN.maximum.default, (IMAGE, meta(1))),
    (ATEN.linear.default, (meta(5, 3, 8), meta(6, 8), meta(6))),
    (ATEN.conv2d.default, (IMAGE, meta(6, 2, 3, 2), meta(6), [2, 1], [1, 0], [2, 3], 2)),
    (ATEN.conv2d.default, (IMAGE, meta(6, 4, 3, 3))),
    (ATEN.max_pool2d.default, (IMAGE, [3, 2], [2, 3])),
    (ATEN.avg_pool2d.default, (IMAGE, [3, 2], [2, 3], [1, 0], False, False)),
    (ATEN.avg_pool2d.default, (IMAGE, [3, 2], [2, 3], [1, 0], True, False)),
    (ATEN.mean.dim, (IMAGE, [-1, 2], False)),
    (ATEN.sum.dim_IntList, (IMAGE, [1], True)),
    (ATEN.amax.default, (IMAGE, [3, 2], True)),
    (ATEN.softmax.int, (IMAGE, -1)),
    (ATEN.log_softmax.int, (IMAGE, 1)),
    (ATEN.cat.default, ([IMAGE, meta(5, 4, 2, 7)], -2)),
    (ATEN.lstm.input, (meta(5, 11, 7), STATE, GATES, True, 1, 0.0, False, False, True)),
]


def shapes(made: Any) -> list[tuple[int, ...]]:
    return [tuple(each.shape) for each in (made if isinstance(made, tuple) else (made,))]


@pytest.mark.parametrize(("target", "args"), CALLS, ids=lambda each: str(each) if not isinstance(each, tuple) else "")
def test_they_are_torch_s(target: Any, args: tuple[Any, ...]) -> None:
    assert shapes(made_by(target, args, {})) == shapes(target(*args))


def test_rounding_has_no_kernel_for_shapes() -> None:
    args = (IMAGE, 0.5, 3, -128, 127)
    with pytest.raises(NotImplementedError):
        ROUNDING(*args)
    assert shapes(made_by(ROUNDING, args, {})) == [tuple(IMAGE.shape)]


def test_every_rule_is_tried() -> None:
    relu = SHAPE_RULES[ATEN.relu.default]
    alike = {ROUNDING, *(each for each in SHAPE_RULES if SHAPE_RULES[each] is relu)}
    assert set(SHAPE_RULES) - alike <= {target for target, _ in CALLS}


WRONG: list[tuple[Any, tuple[Any, ...]]] = [
    (ATEN.linear.default, (meta(5, 7), meta(6, 8))),
    (ATEN.conv2d.default, (IMAGE, meta(6, 3, 3, 3))),
    (ATEN.conv2d.default, (IMAGE, meta(6, 4, 10, 3))),
    (ATEN.add.Tensor, (IMAGE, meta(6))),
    (ATEN.cat.default, ([IMAGE, meta(5, 3, 2, 7)], 2)),
    (ATEN.max_pool2d.default, (IMAGE, [10, 2], [1, 1])),
    (ATEN.lstm.input, (meta(5, 11, 6), STATE, GATES, True, 1, 0.0, False, False, True)),
]


@pytest.mark.parametrize(("target", "args"), WRONG, ids=lambda each: str(each) if not isinstance(each, tuple) else "")
def test_what_does_not_fit_is_refused(target: Any, args: tuple[Any, ...]) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        made_by(target, args, {})
