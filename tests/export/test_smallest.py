"""The search for the smallest arena, against counting up; test_c_array has the arenas themselves."""

from __future__ import annotations

import pytest

from mcubench.export.smallest import search


@pytest.mark.parametrize("least", [1, 7, 64])
def test_it_finds_the_smallest_that_starts(least: int) -> None:
    for smallest in range(1, 300):
        tried: list[int] = []

        def starts(count: int, smallest: int = smallest, tried: list[int] = tried) -> bool:
            tried.append(count)
            return count >= smallest

        assert search(starts, least) == max(least, smallest)
        assert len(tried) == len(set(tried)), "none is tried twice"
        assert len(tried) <= 20
