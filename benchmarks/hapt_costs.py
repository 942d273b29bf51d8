"""What HAPT's features cost: formulas of each statistic, and totals.

Used by `python -m benchmarks.hapt_features --cost`. Every formula is evaluated, and compared with
what the package counts.
"""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.tables import table
from mcubench.features import WINDOW, Operations, feature_cost, select
from mcubench.features.steps import Step, closure

__all__ = ["cost_tables"]

# Name, how it is computed, a step of it (128 samples) and one of a spectrum (64 bins), and its operations in n values;
# n = 2^p. What it needs of other rows is not in it.
FORMULAS: tuple[tuple[str, str, Step, Step | None, dict[str, str]], ...] = (
    ("median of 3, a channel", "two orderings and a third", Step("median", "acc", "X"), None, {"comparisons": "3*s"}),
    (
        "low-pass 20 Hz, a channel", "5 second-order sections", Step("noise", "acc", "X"), None,
        {"macs": "20*s", "multiplications": "5*s"},
    ),
    (
        "low-pass 0.3 Hz, a channel", "a first- and a second-order section as integrators, the latter in two floats",
        Step("gravity", "acc", "X"), None, {"macs": "4*s", "multiplications": "2*s", "additions": "12*s"},
    ),
    (
        "low-pass 0.1 Hz, a channel", "a second-order section as integrators", Step("drift", "gyro", "X"), None,
        {"macs": "3*s", "multiplications": "2*s", "additions": "3*s"},
    ),
    (
        "remainder, a channel", "what gravity lacks as a float, in a byte", Step("remainder", "acc", "X"), None,
        {"macs": "s", "comparisons": "2*s"},
    ),
    ("body, a channel", "a difference", Step("signal", "tBodyAcc", "X"), None, {"additions": "s"}),
    ("jerk, a channel", "a difference", Step("signal", "tBodyAccJerk", "X"), None, {"additions": "s"}),
    ("magnitude", "of three axes", Step("signal", "tBodyAccMag"), None, {"macs": "3*s", "roots": "s"}),
    (
        "spectrum, a channel", "radix-2 transform of n/2 complex points, unpacked; magnitudes",
        Step("spectrum", "fBodyAcc", "X"), None,
        {
            "macs": "(p-1)*n/2 + n", "multiplications": "(p-1)*n/2 + 3*n/2 + 1",
            "additions": "(p-1)*n + 2*n + 1", "comparisons": "1", "roots": "n/2",
        },
    ),
    ("sum", "", Step("sum", "tBodyAcc", "X"), Step("sum", "fBodyAcc", "X"), {"additions": "n"}),
    ("mean", "of sum", Step("mean", "tBodyAcc", "X"), Step("mean", "fBodyAcc", "X"), {"multiplications": "1"}),
    (
        "squares", "of deviations from mean", Step("squares", "tBodyAcc", "X"), Step("squares", "fBodyAcc", "X"),
        {"additions": "n", "macs": "n"},
    ),
    (
        "std", "of squares", Step("std", "tBodyAcc", "X"), Step("std", "fBodyAcc", "X"),
        {"multiplications": "1", "roots": "1"},
    ),
    (
        "mad", "absolute deviations from mean", Step("mad", "tBodyAcc", "X"), Step("mad", "fBodyAcc", "X"),
        {"additions": "2*n", "comparisons": "n", "multiplications": "1"},
    ),
    ("max, min, maxInds", "a pass", Step("max", "tBodyAcc", "X"), Step("max", "fBodyAcc", "X"), {"comparisons": "n-1"}),
    (
        "sma, three axes", "absolute values (a spectrum has the means: 2 additions)", Step("sma", "tBodyAcc"), None,
        {"comparisons": "3*n", "additions": "3*n", "multiplications": "1"},
    ),
    (
        "energy", "sum of squares", Step("energy", "tBodyAcc", "X"), Step("energy", "fBodyAcc", "X"),
        {"macs": "n", "multiplications": "1"},
    ),
    (
        "iqr", "sorted runs, merged from both ends", Step("iqr", "tBodyAcc", "X"), Step("iqr", "fBodyAcc", "X"),
        {"comparisons": "(p-1)*n + 2", "additions": "3", "multiplications": "1"},
    ),
    (
        "entropy", "histogram of 256 levels, table of c log2 c",
        Step("entropy", "tBodyAcc", "X"), Step("entropy", "fBodyAcc", "X"),
        {"comparisons": "2*n", "macs": "n+1", "additions": "n + 256"},
    ),
    (
        "arCoeff, all four", "Burg", Step("arCoeff", "tBodyAcc", "X"), None,
        {
            "macs": "14*n - 26", "multiplications": "4", "additions": "11*n - 18", "comparisons": "4",
            "divisions": "4",
        },
    ),
    (
        "arCoeff of gravity, all four", "with remainders", Step("arCoeff", "tGravityAcc", "X"), None,
        {
            "macs": "16*n - 28", "multiplications": "4", "additions": "13*n - 20", "comparisons": "4",
            "divisions": "4",
        },
    ),
    (
        "correlation, a pair", "of mean and squares", Step("correlation", "tBodyAcc", "XY"), None,
        {"additions": "2*n", "macs": "n", "multiplications": "1", "roots": "1", "divisions": "1"},
    ),
    (
        "meanFreq", "of sum", Step("meanFreq", "fBodyAcc", "X"), Step("meanFreq", "fBodyAcc", "X"),
        {"macs": "n", "divisions": "1"},
    ),
    (
        "skewness", "of mean and squares", Step("skewness", "fBodyAcc", "X"), Step("skewness", "fBodyAcc", "X"),
        {"additions": "n", "multiplications": "n+3", "macs": "n", "roots": "1", "divisions": "1"},
    ),
    (
        "kurtosis", "of mean and squares", Step("kurtosis", "fBodyAcc", "X"), Step("kurtosis", "fBodyAcc", "X"),
        {"additions": "n", "multiplications": "n+3", "macs": "n", "divisions": "1"},
    ),
    (
        "bandsEnergy, a band of b bins", "sum of squares", Step("bandsEnergy", "fBodyAcc", "X-1-8"), None,
        {"macs": "b"},
    ),
    ("length, of a vector of means", "squared", Step("length", "tBodyAcc"), None, {"macs": "3"}),
    (
        "angle, of two vectors", "of means and lengths", Step("angle", "tBodyAcc"), None,
        {"macs": "3", "multiplications": "1", "roots": "1", "divisions": "1", "comparisons": "2", "arccosines": "1"},
    ),
    (
        "angle, of an axis", "of means and a length", Step("angle", "tGravityAcc", "X"), None,
        {"roots": "1", "divisions": "1", "comparisons": "2", "arccosines": "1"},
    ),
)  # fmt: skip

SUBSETS = {
    "all 561": None,
    "time signals only": ["t*"],
    "mean and std of everything": ["mean", "std"],
    "accelerometer, time only": ["tBodyAcc*", "tGravityAcc*"],
    "mean, std, max, min of tBodyAcc and tGravityAcc": [
        f"{signal}-{statistic}" for signal in ("tBodyAcc", "tGravityAcc") for statistic in ("mean", "std", "max", "min")
    ],
    "mean of tGravityAcc": ["tGravityAcc-mean"],
}


def evaluated(formulas: dict[str, str], n: int) -> Operations:
    names = {"n": n, "p": n.bit_length() - 1, "s": WINDOW // 2, "b": 8}
    return Operations(**{name: int(eval(formula, {}, names)) for name, formula in formulas.items()})


def counts(operations: Operations) -> list[str]:
    return [f"{count:,}" for count in asdict(operations).values()]


def cost_tables() -> dict[str, str]:
    """Formulas, each compared with what the package counts, and totals of some subsets."""
    kinds = list(asdict(Operations()))
    rows = []
    for name, how, step, spectral, formulas in FORMULAS:
        bins = step.signal.startswith("f") and step.kind != "spectrum"
        for each, n in ((step, 64 if bins else WINDOW), (spectral, 64)):
            if each is not None and closure([each])[each].operations != evaluated(formulas, n):
                raise AssertionError(f"the formula of {name} does not give what the package counts")
        written = "; ".join(
            f"{kind} {formulas[kind].replace('**', '^').replace('*', ' ')}" for kind in kinds if kind in formulas
        )
        rows.append((name, how, written))
    found = {"formulas": table("what | how | operations", rows)}
    prices = {name: feature_cost(select(terms)) for name, terms in SUBSETS.items()}
    totals = [
        (name, price.features, *counts(price.operations), f"{price.memory.total:,}") for name, price in prices.items()
    ]
    found["costs"] = table(f"subset | features: | {' | '.join(f'{kind}:' for kind in kinds)} | RAM, bytes:", totals)
    return found
