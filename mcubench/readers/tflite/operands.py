"""What rules read of an operator, in float and in integers alike: options, operands, numbers that are known."""

from __future__ import annotations

from typing import Any

from mcubench.readers.tflite.content import FileOperator, FileTensor
from mcubench.readers.tflite.shapes import Known

__all__ = ["SAME", "Operands"]

SAME = 0  # Padding of schema.fbs; the other is without

_ACTIVATIONS = {0: None, 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}  # ActivationFunctionType of schema.fbs


class Operands:
    """An operator, and what is known ahead.

    Attributes:
        operator: The operator.
        known: Integers that are known before the model runs, by their tensors.
    """

    def __init__(self, operator: FileOperator, known: Known) -> None:
        self.operator, self.known = operator, known

    def option(self, name: str, default: Any = None) -> Any:
        """An option by the name of its accessor, as in ``StrideH``; the default where the file has no options."""
        return default if self.operator.options is None else getattr(self.operator.options, name)()

    @property
    def activation(self) -> str | None:
        """The activation that is fused into it.

        Raises:
            UserError: If it is one that TFLite Micro has not.
        """
        kind = self.option("FusedActivationFunction", 0)
        if kind not in _ACTIVATIONS:
            raise self.operator.refuse(f"its fused activation has number {kind}, which is not read")
        return _ACTIVATIONS[kind]

    @property
    def stride(self) -> tuple[int, int]:
        """Of a window, down and across.

        Raises:
            UserError: If it stands still.
        """
        stride = self.option("StrideH"), self.option("StrideW")
        if min(stride) < 1:
            raise self.operator.refuse(f"its stride is {stride[0]}x{stride[1]}")
        return stride

    @property
    def window(self) -> tuple[int, int]:
        """Of a pool.

        Raises:
            UserError: If it is empty.
        """
        window = self.option("FilterHeight"), self.option("FilterWidth")
        if min(window) < 1:
            raise self.operator.refuse(f"its window is {window[0]}x{window[1]}")
        return window

    def optional(self, index: int) -> FileTensor | None:
        """What it reads at a place, if something stands there."""
        return self.operator.inputs[index] if index < len(self.operator.inputs) else None

    def tensor(self, index: int) -> FileTensor:
        """The same.

        Raises:
            UserError: If nothing does.
        """
        if (found := self.optional(index)) is None:
            raise self.operator.refuse(f"its input {index} is missing")
        return found

    def numbers(self, index: int) -> list[int]:
        """Integers that are known before the model runs: a shape, axes, amounts.

        Raises:
            UserError: If they are computed from the input.
        """
        tensor = self.tensor(index)
        if tensor not in self.known:
            raise self.operator.refuse(f"{tensor.name} depends on the input")
        return [int(each) for each in self.known[tensor].reshape(-1)]

    def check_plain_lstm(self) -> None:
        """Sees that an LSTM has nothing but gates.

        Raises:
            UserError: If it has.
        """
        if any(self.optional(index) is not None for index in (9, 10, 11, 16, 17, 20, 21, 22, 23)):
            raise self.operator.refuse("it has peepholes, a projection or a norm of its layers")
        if self.option("TimeMajor"):
            raise self.operator.refuse("its first axis is time")
