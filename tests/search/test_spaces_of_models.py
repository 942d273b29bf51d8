"""What models and data say that can be varied.

References: their own signatures and checks, by making each one at both ends of each of its options.
"""

from __future__ import annotations

from typing import Any

import pytest

import mcubench.baselines
import mcubench.models
from mcubench.cli.options.names import BASELINES, MODELS
from mcubench.cost import is_unfitted, profile
from mcubench.datamodules import HAPT, Digits
from mcubench.search import Choice, Number, Whole

SHAPES = {"LeNet": (1, 36, 36), "CNN1d": (6, 128), "DSCNN": (1, 28, 28), "GRU": (6, 128), "LSTM": (6, 128)}
# All but any estimator, and the network that is there to be read.
SAYING = sorted({*MODELS, *BASELINES} - {"Sklearn", "NumpyMLP"})


def made(name: str, **options: Any) -> Any:
    kind: Any = getattr(mcubench.models if name in MODELS else mcubench.baselines, name)
    return kind(input_shape=SHAPES.get(name, (1, 28, 28)), num_classes=10, **options)


def ends(dimension: Whole | Number | Choice) -> tuple[Any, ...]:
    return dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)


@pytest.mark.parametrize("name", SAYING)
def test_each_model_takes_what_it_says_can_be_varied(name: str) -> None:
    space = type(made(name)).search_space()
    assert space
    for option, dimension in space.items():
        for value in ends(dimension):
            made(name, **{option: value})
    smallest = made(name, **{option: ends(dimension)[0] for option, dimension in space.items()})
    if not is_unfitted(smallest):
        flash = profile(smallest, smallest.example_input_array).flash_bytes
        assert flash is not None
        assert flash < 8192, "of each space something fits a part with little flash"


def test_features_can_be_left_out() -> None:
    assert HAPT().search_space() == {}
    space = HAPT(inputs="features").search_space()
    for value in ends(space["k_best"]):
        assert HAPT(inputs="features", k_best=value).input_shape == (value,)
    few = ["tGravityAcc-mean", "tGravityAcc-mad-X"]
    assert HAPT(inputs="features", features=few).search_space() == {"k_best": Whole(4, 4, log=True)}
    assert Digits().search_space() == {}
