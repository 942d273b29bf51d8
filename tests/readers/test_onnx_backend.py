"""The onnx package's own tests for backends: each is read and right, or refused. None is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("onnx")

from mcubench.readers.onnx.reading import RULES, At
from tests.readers.onnx_backend import Case, cases, examine

# Read and right, of those that the package has now: what is read stays read.
LEAST = {"pytorch-converted": 82, "pytorch-operator": 35, "simple": 7, "node": 960}


@pytest.mark.parametrize("group", [pytest.param(each, marks=[pytest.mark.slow] * (each == "node")) for each in LEAST])
def test_each_is_right_or_refused_with_a_reason(group: str) -> None:
    verdicts = {case.name: examine(case) for case in cases(group)}
    assert {name: each.why for name, each in verdicts.items() if each.kind == "wrong"} == {}
    assert Counter(each.kind for each in verdicts.values())["right"] >= LEAST[group]
    assert all(each.reason for each in verdicts.values() if each.kind == "refused")


def changed(operator: str, **attributes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """A rule that takes an attribute to be another one than the file says."""

    def mistake(patch: pytest.MonkeyPatch) -> None:
        rule = RULES[operator]

        def wrong(at: At) -> Any:
            at.node = replace(at.node, attributes={**at.node.attributes, **attributes})
            return rule(at)

        patch.setitem(RULES, operator, wrong)

    return mistake


MISTAKES: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "pads of a convolution dropped": ("test_Conv2d_padding", changed("Conv", pads=[0, 0, 0, 0])),
    "dilations dropped": ("test_Conv2d_dilated", changed("Conv", dilations=[1, 1])),
    "another axis of softmax": ("test_softmax_functional_dim3", changed("Softmax", axis=1)),
    "another slope": ("test_LeakyReLU_with_negval", changed("LeakyRelu", alpha=0.01)),
    "pads of a pool dropped": ("test_MaxPool2d_stride_padding_dilation", changed("MaxPool", pads=[0, 0, 0, 0])),
    "another eps": ("test_BatchNorm2d_eval", changed("BatchNormalization", epsilon=0.1)),
    "another order of axes": ("test_PixelShuffle", changed("Transpose", perm=[0, 1, 2, 4, 3, 5])),
    "a bias dropped": ("test_Linear", lambda patch: patch.setattr(At, "optional", lambda self, index: None)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_rule_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    test, mistake = MISTAKES[name]
    assert examine(named(test)).kind == "right"
    mistake(monkeypatch)
    assert examine(named(test)).kind == "wrong"


def named(test: str) -> Case:
    return next(
        each for group in ("pytorch-converted", "pytorch-operator") for each in cases(group) if each.name == test
    )
