"""Random architectures as cases in C: all are drawn first, and compiled together."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import Phase, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.quant import NotInIntegersError
from tests.codegen.host import Case, case
from tests.graph.compare import batch_like
from tests.graph.test_random_architectures import architectures
from tests.quant.test_random_architectures import REFUSED
from tests.quant.witness import quantized


def drawn_cases(count: int, dialects: Sequence[str]) -> list[Case]:
    """So many, of one dialect after the other, at 8, 4 and 2 bits."""
    found: list[Case] = []

    @settings(max_examples=count, phases=[Phase.generate])
    @given(architectures(int8=True), st.sampled_from([8, 8, 4, 2]))
    def draw(drawn: tuple[nn.Module, Tensor], bits: int) -> None:
        module, example = drawn
        x = batch_like(example, samples=8)
        try:
            graph = quantized(module, x, bits)
        except NotInIntegersError as error:
            if not REFUSED.search(str(error)):
                raise
            reject()
        number = len(found)
        dialect = dialects[number % len(dialects)]
        found.append(
            case(f"{number}: {module}, {tuple(example.shape)}, {bits} bits, {dialect}", graph, x, dialect, number)
        )

    draw()
    assert len(found) >= count
    return found
