"""The 561 features of HAPT: which statistic of which signal stands in which column, under which names."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = [
    "ANGLE",
    "AR_ORDER",
    "BANDS",
    "SIGNALS",
    "SPECTRA",
    "Column",
    "Signal",
    "columns",
    "original",
    "originals",
    "statistics_of",
]


@dataclass(frozen=True)
class Signal:
    """One signal that statistics are taken of.

    Attributes:
        name: As in features.txt: ``t`` for time, ``f`` for the magnitude spectrum.
        axes: 3, or 1 for a Euclidean magnitude.
    """

    name: str
    axes: int

    @property
    def spectral(self) -> bool:
        """Whether it is a spectrum, of 64 bins, instead of 128 samples."""
        return self.name.startswith("f")

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of its axes; one without a name for a magnitude."""
        return ("X", "Y", "Z") if self.axes == 3 else ("",)


_TIME = [("tBodyAcc", 3), ("tGravityAcc", 3), ("tBodyAccJerk", 3), ("tBodyGyro", 3), ("tBodyGyroJerk", 3)]
_TIME += [(f"t{name}Mag", 1) for name in ("BodyAcc", "GravityAcc", "BodyAccJerk", "BodyGyro", "BodyGyroJerk")]
# Not of tBodyGyroJerk, nor of gravity: features_info.txt lists the spectra so.
_SPECTRAL = [("fBodyAcc", 3), ("fBodyAccJerk", 3), ("fBodyGyro", 3)]
_SPECTRAL += [(f"f{name}Mag", 1) for name in ("BodyAcc", "BodyAccJerk", "BodyGyro", "BodyGyroJerk")]

SIGNALS: dict[str, Signal] = {name: Signal(name, axes) for name, axes in _TIME + _SPECTRAL}
SPECTRA: dict[str, str] = {name: f"t{name[1:]}" for name, _ in _SPECTRAL}
"""The time signal that each spectrum is of."""

ANGLE = "angle"

_EVERYWHERE = ("mean", "std", "mad", "max", "min", "sma", "energy", "iqr", "entropy")
_SHAPE = ("skewness", "kurtosis")
AR_ORDER = 4

# Bands of bins, from 1 and inclusive, as UCI's earlier HAR data set names them in its features.txt.
BANDS = (
    *((first, first + 7) for first in range(1, 65, 8)),
    *((first, first + 15) for first in range(1, 65, 16)),
    (1, 24),
    (25, 48),
)

# What features.txt calls them; what is missing here is capitalised.
_PUBLISHED = {"std": "STD", "sma": "SMA", "iqr": "IQR", "entropy": "ropy", "arCoeff": "ARCoeff", "maxInds": "MaxInds"}
_PUBLISHED |= {"meanFreq": "MeanFreq", "bandsEnergy": "BandsEnergyOld"}


@dataclass(frozen=True)
class Column:
    """One column of the feature matrix.

    Attributes:
        index: Where it stands, from 0.
        signal: The signal, a key of `SIGNALS`.
        statistic: The statistic, named as in features_info.txt.
        part: What of it: an axis (``X``), two (``XY``), an axis and a coefficient (``X-1``) or an axis and a band of
            bins (``X-1-8``); empty if there is one only.
        slot: Where it stands among the values of this statistic of this signal, from 0.
        published: Its name in features.txt, where names are not distinct.
    """

    index: int
    signal: str
    statistic: str
    part: str
    slot: int
    published: str

    @property
    def name(self) -> str:
        """Its distinct name: signal, statistic and part."""
        return "-".join(filter(None, (self.signal, self.statistic, self.part)))

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the signal that it is computed from."""
        own = SIGNALS[self.signal].parts
        named = self.part.split("-")[0]
        return tuple(axis for axis in own if axis in named) if named else own


def statistics_of(signal: Signal) -> tuple[str, ...]:
    """The statistics of a signal, in the order of the columns; angles stand apart, at the end of all."""
    if not signal.spectral:
        return (*_EVERYWHERE, "arCoeff", "correlation") if signal.axes == 3 else (*_EVERYWHERE, "arCoeff")
    shared = (*_EVERYWHERE, "maxInds", "meanFreq", *_SHAPE)
    return (*shared, "bandsEnergy") if signal.axes == 3 else shared


@functools.cache
def columns() -> tuple[Column, ...]:
    """All 561 columns in the order of features.txt."""
    return tuple(Column(index, *rest) for index, rest in enumerate(_walk()))


def original(column: Column) -> Column:
    """The column that holds the same values and comes first: of 21 columns it is another one.

    tGravityAccMag is tBodyAccMag once more, and the magnitude area of a signal that has no negative values is its mean.
    """
    signal = "tBodyAccMag" if column.signal == "tGravityAccMag" else column.signal
    statistic = "mean" if column.statistic == "sma" and SIGNALS[signal].axes == 1 else column.statistic
    return _by_name()["-".join(filter(None, (signal, statistic, column.part)))]


def originals(chosen: Iterable[Column]) -> dict[Column, Column]:
    """Of each group of columns with the same values the first that was chosen, by the group's original."""
    first: dict[Column, Column] = {}
    for column in sorted(chosen, key=lambda column: column.index):
        first.setdefault(original(column), column)
    return first


@functools.cache
def _by_name() -> dict[str, Column]:
    return {column.name: column for column in columns()}


def _walk() -> Iterator[tuple[str, str, str, int, str]]:
    for signal in SIGNALS.values():
        shape: list[tuple[str, str, str, int, str]] = []
        for statistic in statistics_of(signal):
            published = f"{signal.name}-{_PUBLISHED.get(statistic, statistic.capitalize())}"
            for slot, part in enumerate(_parts(signal, statistic)):
                # Entropy, skewness and kurtosis of every axis have one name there.
                number = 1 if statistic in ("entropy", *_SHAPE) else slot + 1
                row = (signal.name, statistic, part, slot, f"{published}-{number}")
                if statistic in _SHAPE:
                    shape.append(row)
                else:
                    yield row
            if statistic == _SHAPE[-1]:  # skewness and kurtosis of X, then of Y, then of Z
                yield from sorted(shape, key=lambda row: row[3])
    for name in ("tBodyAcc", "tBodyAccJerk", "tBodyGyro", "tBodyGyroJerk"):
        yield name, ANGLE, "", 0, f"{name}-AngleWRTGravity-1"
    for slot, axis in enumerate("XYZ"):
        yield "tGravityAcc", ANGLE, axis, slot, f"t{axis}AxisAcc-AngleWRTGravity-1"


def _parts(signal: Signal, statistic: str) -> Iterator[str]:
    if statistic == "sma":
        yield ""
    elif statistic == "correlation":
        yield from ("XY", "XZ", "YZ")
    elif statistic == "arCoeff":
        yield from ("-".join(filter(None, (axis, str(k)))) for axis in signal.parts for k in range(1, AR_ORDER + 1))
    elif statistic == "bandsEnergy":
        yield from (f"{axis}-{first}-{last}" for axis in signal.parts for first, last in BANDS)
    else:
        yield from signal.parts
