"""Random architectures: TFLite Micro computes the same bytes from the file, and takes the arena that was planned.

Of what is drawn, the integer graph refuses what it has no kernels for; the refusals are listed, so that none hides.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, note, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.quant import NotInIntegersError
from tests.graph.compare import batch_like
from tests.graph.test_random_architectures import architectures
from tests.quant.witness import check

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")

REFUSED = re.compile(
    r"TransposedConv [^:]+ can't be computed in int8: only transposed convolutions without dilation and groups"
    r"|Average\w* [^:]+ can't be computed in int8: an average over padding whose last window is not full"
    r"|(Average\w* [^:]+|AdaptivePool) can't be computed in int8: its windows are not all alike"
    r"|Softmax can't be computed in int8: it is over \d+ values"
)


def examine(module: nn.Module, x: Tensor, bits: int) -> None:
    """Compares bytes and arena for some samples, or rejects what is drawn, if for a reason of the list."""
    note(str(module))
    note(f"input {tuple(x.shape)}, {bits} bits")
    try:
        check(module, x, bits)
    except NotInIntegersError as error:
        if not REFUSED.search(str(error)):
            raise
        reject()


@settings(max_examples=80)
@given(architectures(), st.sampled_from([8, 8, 4, 2]))
def test_random_architectures(drawn: tuple[nn.Module, Tensor], bits: int) -> None:
    module, example = drawn
    examine(module, batch_like(example, samples=8), bits)
