"""Choosing features: what each kind of term takes, by the catalogue's hand counts."""

from __future__ import annotations

import pytest

from mcubench.errors import UserError
from mcubench.features import columns, select


def names(*terms: str) -> list[str]:
    return [column.name for column in select(terms)]


@pytest.mark.parametrize(
    ("term", "count"),
    # By the counts of test_catalogue.py.
    [
        ("tBodyAcc", 40 + 1),  # an angle, too; not tBodyAccJerk, not tBodyAccMag
        ("fBodyAcc", 79),
        ("tGravityAccMag", 13),
        ("mean", 33),
        ("angle", 7),
        ("bandsEnergy", 126),
        ("tBodyAcc-mean", 3),
        ("fBodyAcc-bandsEnergy", 42),
        ("tBodyAccMag-mean", 1),
        ("tBodyAcc-mean-X", 1),
        ("fBodyAcc-bandsEnergy-X-1-8", 1),
        ("tBodyAcc-correlation-XY", 1),
        ("*", 561),
        ("f*", 3 * 79 + 4 * 13),
        ("f*-energy", 3 * 3 + 4),
        ("*Mag", 9 * 13),
        ("*Gyro*-angle", 2),
        ("*-arCoeff-?-4", 15),  # not those of magnitudes, that name no axis
        ("*-bandsEnergy-?-1-8", 9),
        ("tbodyacc-MEAN", 3),
        ("TBODYACC-Mean-x", 1),
        ("F*-Energy", 13),
    ],
)
def test_terms(term: str, count: int) -> None:
    assert len(names(term)) == count


def test_what_terms_take() -> None:
    assert names("tBodyAcc-mean") == ["tBodyAcc-mean-X", "tBodyAcc-mean-Y", "tBodyAcc-mean-Z"]
    assert {column.signal for column in select(["tBodyAcc"])} == {"tBodyAcc"}
    assert {column.statistic for column in select(["std"])} == {"std"}
    assert names("*Gyro*-angle") == ["tBodyGyro-angle", "tBodyGyroJerk-angle"]
    assert names("tGravityAcc-angle") == ["tGravityAcc-angle-X", "tGravityAcc-angle-Y", "tGravityAcc-angle-Z"]


@pytest.mark.parametrize("column", columns()[::7], ids=lambda column: column.name)
def test_every_name_takes_its_column_alone(column) -> None:
    assert select([column.name]) == (column,)


def test_order_is_that_of_the_columns() -> None:
    assert names("tGravityAcc-mean-Z", "std", "tBodyAcc-mean-Y") == names(
        "tBodyAcc-mean-Y", "std", "tGravityAcc-mean-Z"
    )
    for terms in (["mean", "tBodyAcc"], ["f*", "angle", "max"]):
        indices = [column.index for column in select(terms)]
        assert indices == sorted(indices)


def test_terms_are_joined_and_nothing_is_taken_twice() -> None:
    both = names("tBodyAcc", "mean")
    assert len(both) == len(set(both)) == 41 + 33 - 3
    assert set(both) == set(names("tBodyAcc")) | set(names("mean"))
    assert names("mean", "mean", "tBodyAcc-mean-X") == names("mean")


def test_all() -> None:
    assert select(None) == columns()
    assert select(iter(["*"])) == columns()


@pytest.mark.parametrize(
    ("term", "meant"),
    [
        ("tBodyAc", "tBodyAcc"),
        ("entrpy", "entropy"),
        ("tBodyAcc-maen-X", "tBodyAcc-mean-X"),
        ("TGRAVITYACCMAGG", "tGravityAccMag"),
    ],
)
def test_unknown_terms_are_named_with_what_was_meant(term: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        select(["mean", term])
    assert f"no feature is named {term!r}. Did you mean {meant!r}?" in str(caught.value)
    assert "tBodyAcc-mean-X" in str(caught.value)


@pytest.mark.parametrize("term", ["", "qqqqqqqq", "tBodyGyroJerk-skewness", "fBodyAcc-correlation", "x*"])
def test_what_nothing_is_like_is_named_alone(term: str) -> None:
    with pytest.raises(UserError, match="no feature is named"):
        select([term])


@pytest.mark.parametrize("terms", [[], ()])
def test_nothing(terms: list[str]) -> None:
    with pytest.raises(UserError, match="features is empty: leave it out to take all 561, or name some"):
        select(terms)
