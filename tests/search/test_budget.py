"""What a budget allows.

References: the table of devices, and shares by hand.
"""

from __future__ import annotations

import pytest

from mcubench.cost import find_device
from mcubench.errors import UserError
from mcubench.search.budget import Budget, Price


def test_limits_and_how_far_a_price_is_from_them() -> None:
    budget = Budget.of("4KiB", "8 KiB", "250k", None, None)
    assert budget.limits == {"flash": 4096, "ram": 8192, "macs": 250_000}
    assert budget.excess(Price(2048, 8192, 500_000)) == {"flash": -0.5, "ram": 0.0, "macs": 1.0}
    assert budget.problem(Price(4096, 8192, 250_000)) is None
    assert budget.problem(Price(4097, 0, 0)) == "flash 4,097 B of 4,096 B"
    assert str(budget) == "flash 4,096 B, RAM 8,192 B, MACs 250,000"


def test_what_is_not_known_is_over_budget() -> None:
    budget = Budget.of("4KiB", None, None, None, None)
    assert budget.excess(Price(None, None, None)) == {"flash": 1.0}
    assert budget.problem(Price(None, None, None)) == "flash ? of 4,096 B"
    assert Budget().problem(Price(None, None, None)) is None, "nothing is limited"


def test_a_device_is_a_budget() -> None:
    part = find_device("stm32f446")
    assert Budget.of(None, "8KiB", None, None, "stm32f446").limits == {"flash": part.flash, "ram": 8192, "macs": None}


def test_a_latency_is_a_limit_of_macs() -> None:
    """As many as the slowest published cycles per MAC leave of it, which `Device.latency` gives back."""
    part = find_device("stm32f446")
    most = Budget.of(None, None, None, "2.5", "stm32f446").most_macs
    assert most is not None
    latency, above = part.latency(most), part.latency(most + 1)
    assert latency is not None
    assert above is not None
    assert latency[1] <= 2.5e-3 < above[1]
    assert Budget.of(None, None, "1k", "2.5", "stm32f446").most_macs == 1000, "the lower of the two"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (("4 furlongs", None, None, None, None), "budget.flash must be bytes"),
        ((None, None, "many", None, None), "budget.macs must be a number"),
        ((None, None, None, "20", None), "give --budget.device with it"),
        ((None, None, None, "20", "stm32f103"), "none are published"),
        ((None, None, None, "-1", "stm32f446"), "budget.latency must be a number of milliseconds above 0; got '-1'"),
        ((None, None, None, "nan", "stm32f446"), "budget.latency must be a number of milliseconds above 0"),
        ((None, None, None, None, "stm32f44"), "Did you mean 'stm32f446'"),
    ],
)
def test_mistakes(limits: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Budget.of(*limits)
    assert message in str(caught.value)
