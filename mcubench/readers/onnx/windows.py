"""Where the windows of convolutions and pools lie: strides, dilations and pads as ONNX has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcubench.readers.onnx.reading import At, Value, aten

__all__ = ["Windows", "padded", "windows"]

_LARGEST = 1 << 24  # of any number that says where windows lie


@dataclass(frozen=True)
class Windows:
    """Windows along the spatial axes.

    Attributes:
        kernel: Elements of a window.
        stride: Distance of two windows.
        dilation: Distance of two elements of a window.
        before: Elements that are put before the first.
        after: Elements that are put behind the last.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def is_even(self) -> bool:
        """Whether as much is put before as behind."""
        return self.before == self.after

    @property
    def spans(self) -> tuple[int, ...]:
        """Elements from the first to the last of a window."""
        return tuple(step * (size - 1) + 1 for step, size in zip(self.dilation, self.kernel, strict=True))

    def counts(self, sizes: Sequence[int], ceil: bool) -> tuple[int, ...]:
        """Number of windows along each axis; with `ceil`, one that begins before the end and goes over it counts."""
        found = []
        for size, span, stride, before, after in zip(
            sizes, self.spans, self.stride, self.before, self.after, strict=True
        ):
            room = size + before + after - span
            count = (math.ceil(room / stride) if ceil else room // stride) + 1
            if ceil and (count - 1) * stride >= size + before:
                count -= 1  # it would begin behind what is there
            found.append(count)
        return tuple(found)

    def reaching(self, sizes: Sequence[int], counts: Sequence[int]) -> Windows:
        """The same with as much behind as so many windows need."""
        after = tuple(
            (count - 1) * stride + span - size - before
            for count, stride, span, size, before in zip(
                counts, self.stride, self.spans, sizes, self.before, strict=True
            )
        )
        return replace(self, after=after)


def windows(at: At, x: Value, kernel: Sequence[int]) -> Windows:
    """The windows of an operator.

    Args:
        at: The operator.
        x: What it reads: (N, channels, *spatial).
        kernel: Size of a window; its attribute ``kernel_shape`` must be the same, if it is given.

    Raises:
        UserError: If they are none.
    """
    rank = len(kernel)
    if at.rank(x) != rank + 2 or not rank:
        at.refuse(f"it has windows of {rank} axes over a tensor of {at.rank(x)}; two more are needed")
    given = at.attributes
    if list(given.get("kernel_shape", kernel)) != list(kernel):
        at.refuse("its kernel_shape is not that of its weights")
    stride, dilation = (tuple(given.get(name) or [1] * rank) for name in ("strides", "dilations"))
    pads = list(given.get("pads") or [0] * 2 * rank)
    if (len(stride), len(dilation), len(pads)) != (rank, rank, 2 * rank):
        at.refuse("it has strides, dilations or pads for another number of axes")
    if min(*kernel, *stride, *dilation) < 1 or min(pads) < 0 or max(*kernel, *stride, *dilation, *pads) > _LARGEST:
        at.refuse("its kernel, strides, dilations or pads are out of range")
    found = Windows(tuple(kernel), stride, dilation, tuple(pads[:rank]), tuple(pads[rank:]))
    auto = given.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return found
    if any(pads):
        at.refuse(f"it has both pads and auto_pad={auto}")
    if auto == "VALID":
        return found
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        at.refuse(f"its auto_pad is {auto!r}")
    sizes = at.shape(x)[2:]
    if at.node.operator == "ConvTranspose":
        return found
    total = [
        max((math.ceil(size / step) - 1) * step + span - size, 0)
        for size, step, span in zip(sizes, stride, found.spans, strict=True)
    ]
    less, more = tuple(each // 2 for each in total), tuple(each - each // 2 for each in total)
    return replace(found, before=less if auto == "SAME_UPPER" else more, after=more if auto == "SAME_UPPER" else less)


def padded(at: At, x: Value, given: Windows, value: float = 0.0) -> tuple[Value, Windows]:
    """What the windows read with all that is put around it, and the windows without it."""
    none = (0,) * given.rank
    if given.before == given.after == none:
        return x, given
    around = [each for pair in zip(reversed(given.before), reversed(given.after), strict=True) for each in pair]
    return at.call(aten.constant_pad_nd.default, x, around, value), replace(given, before=none, after=none)
