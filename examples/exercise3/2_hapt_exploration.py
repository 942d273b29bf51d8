# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. HAPT: what is in the data, and how far classical models get
#
# 30 people wore a phone at the waist; accelerometer and gyroscope were recorded at 50 Hz. A sample is a window of 128
# values of 6 channels, 2.56 s, and belongs to one of 12 activities. Windows overlap by half. The data set comes with
# 561 features of each window; mcubench reads or computes them.
#
# By default models are trained on 1,500 windows, in about a minute. `EXERCISE3=full` in the environment takes all of
# the training part.

# %%
import logging
import os
import warnings

from mcubench.baselines import (  # before lightning, as mcubench mends torchvision
    KNN,
    SVM,
    Baseline,
    DecisionTree,
    GaussianNB,
    LogisticRegression,
    RandomForest,
)
from mcubench.cost import CostReport, bytes_text, profile
from mcubench.datamodules import HAPT

import lightning.pytorch as pl
import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

torch.set_num_threads(1)  # tiny models are slower with more
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")

FULL = os.environ.get("EXERCISE3") == "full"
MAX_SAMPLES = None if FULL else 1_500

# %% [markdown]
# ## Classes and people
#
# `load` gives training and test set as they are, in g and rad/s.

# %%
raw = HAPT(inputs="raw")
train, test = raw.load()
names = [name.lower().replace("_", " ") for name in raw.class_names]
counts = {part: np.bincount(arrays.y, minlength=12) for part, arrays in (("training", train), ("test", test))}

figure, axis = plt.subplots(figsize=(8, 4))
place = np.arange(12)
for offset, (part, count) in zip((-0.2, 0.2), counts.items(), strict=True):
    axis.barh(place + offset, count, 0.4, label=f"{part} set")
axis.set_yticks(place, names)
axis.invert_yaxis()
axis.set(title="HAPT: windows of each activity", xlabel="windows [log scale]", xscale="log", xlim=(1, 3_000))
axis.legend()
figure.tight_layout()
plt.show()

transitions = counts["training"][6:].sum()
print(f"{len(train.y):,} training and {len(test.y):,} test windows")
print(f"the six transitions: {transitions} training windows, {transitions / len(train.y):.1%}")
print(f"rarest: {names[counts['training'].argmin()]}, {counts['training'].min()} windows")
largest = names[counts["training"].argmax()]
always = counts["test"][counts["training"].argmax()] / len(test.y)
print(f"always saying '{largest}' is right for {always:.1%} of the test windows")
assert len(train.y) + len(test.y) == 10_929

# %% [markdown]
# Accuracy hardly sees the transitions. Macro-F1, the mean of the F1 of all classes, counts each alike.
#
# The test set has people of its own, and mcubench holds whole people out for validation as well.

# %%
training_people, test_people = set(train.subjects.tolist()), set(test.subjects.tolist())
print(f"{len(training_people)} people in the training set, {len(test_people)} in the test set")
assert not training_people & test_people
assert not set(raw.subjects("train").tolist()) & set(raw.subjects("val").tolist())

people, windows = np.unique(np.concatenate([train.subjects, test.subjects]), return_counts=True)
figure, axis = plt.subplots(figsize=(8, 3))
axis.bar(people, windows, color=["C1" if person in test_people else "C0" for person in people])
axis.set(title="HAPT: windows of each person (orange: test set)", xlabel="person [number]", ylabel="windows")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## One window of each activity
#
# The first of the training set. Above acceleration in g (gravity is part of it: it tells the postures apart), below
# angular velocity in rad/s.

# %%
figure, axes = plt.subplots(8, 3, figsize=(11, 14), sharex=True, layout="constrained")
seconds = np.arange(128) / 50
for activity, name in enumerate(names):
    window = train.x[train.y == activity][0]
    block, column = divmod(activity, 3)
    above, below = axes[2 * block, column], axes[2 * block + 1, column]
    for channel, label in enumerate("xyz"):
        above.plot(seconds, window[channel], label=label)
        below.plot(seconds, window[3 + channel], label=label)
    above.set(title=name, ylim=(-1.6, 2.2))
    below.set(ylim=(-4, 4))
    if column == 0:
        above.set_ylabel("accel. [g]")
        below.set_ylabel("gyro. [rad/s]")
axes[0, 0].legend(ncols=3, fontsize="small", loc="lower right")
for axis in axes[-1]:
    axis.set_xlabel("time [s]")
figure.suptitle("One window of each activity, 6 channels")
plt.show()

# %% [markdown]
# ## Classical models on raw windows and on features
#
# The same estimators on 768 raw values and on 561 features, scored on the test people. Nothing is tuned. Both inputs
# are scaled by the training part.


# %%
def trainer() -> pl.Trainer:
    return pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def models(data: HAPT) -> dict[str, Baseline]:
    options = {"input_shape": data.input_shape, "num_classes": 12, "max_samples": MAX_SAMPLES, "seed": 0}
    return {
        "decision tree": DecisionTree(max_depth=10, **options),
        "forest of 20 trees": RandomForest(trees=20, max_depth=10, **options),
        "linear SVM": SVM(kernel="linear", **options),
        "RBF SVM": SVM(kernel="rbf", **options),
        "logistic regression": LogisticRegression(**options),
        "5 nearest neighbours": KNN(neighbours=5, **options),
        "Gaussian naive Bayes": GaussianNB(**options),
    }


found: dict[tuple[str, str], tuple[float, float, CostReport]] = {}
features = HAPT(inputs="features")
for inputs, data in (("raw", raw), ("features", features)):
    for name, model in models(data).items():
        trainer().fit(model, data)
        scores = trainer().test(model, data, verbose=False)[0]
        cost = profile(model, data.arrays("train")[0][:1])
        found[inputs, name] = scores["test/accuracy"], scores["test/macro_f1"], cost

# %% [markdown]
# Features have a price of their own, for each window: filters, spectra, statistics. It stands in the last line and is
# to be added to every model that reads features.

# %%
price = features.preprocessing()
assert price is not None  # of raw windows there is none

table = Table(title=f"Classical models on HAPT, trained on {MAX_SAMPLES or len(raw.arrays('train')[1]):,} windows")
for column in ("inputs", "model", "bits", "accuracy", "macro-F1", "MACs", "comparisons", "functions", "flash", "RAM"):
    table.add_column(column, justify="left" if column in ("inputs", "model") else "right", no_wrap=True)
for (inputs, name), (accuracy, macro_f1, cost) in found.items():
    counted = [f"{count:,}" for count in (cost.macs, cost.comparisons, cost.functions)]
    sizes = [bytes_text(cost.flash_bytes), bytes_text(cost.ram_bytes)]
    table.add_row(inputs, name, str(cost.widths.weight), f"{accuracy:.1%}", f"{macro_f1:.1%}", *counted, *sizes)
table.add_section()
operations = price.operations
functions = operations.divisions + operations.roots + operations.arccosines
counted = [f"{count:,}" for count in (operations.macs, operations.comparisons, functions)]
table.add_row("features", "(what they cost)", "", "", "", *counted, "", bytes_text(price.memory.total))
Console(width=130).print(table)
print(f"The features also take {operations.additions:,} additions and {operations.multiplications:,} multiplications.")

# %%
figure, axis = plt.subplots(figsize=(8, 4.5))
for inputs, mark in (("raw", "o"), ("features", "^")):
    own = price.operations.macs if inputs == "features" else 0
    for index, name in enumerate(models(raw)):
        accuracy, _, cost = found[inputs, name]
        axis.semilogx(cost.macs + own or 1, 100 * accuracy, mark, color=f"C{index}", label=f"{name}, {inputs}")
axis.axvline(price.operations.macs, color="black", linestyle=":", label="561 features alone")
axis.set(
    title="HAPT: accuracy against MACs, features included",
    xlabel="MACs of one window [trees on raw values have 0, shown at 1]",
    ylabel="test accuracy [%]",
)
axis.legend(fontsize="x-small", bbox_to_anchor=(1, 1))
axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown]
# What holds at any size: models are better on features than on raw windows. A linear model has one weight for each
# moment of a raw window, and a step may begin at any. Naive Bayes is the exception: it takes inputs for independent,
# which 561 features of 6 channels are not.

# %%
gains = {name: found["features", name][0] - found["raw", name][0] for name in models(raw)}
for name, gain in gains.items():
    print(f"{name:<22} {100 * gain:+.1f} points of accuracy by features")
assert all(gain > 0 for name, gain in gains.items() if name != "Gaussian naive Bayes")

regression = found["features", "logistic regression"][2]
print(f"logistic regression: {regression.macs:,} MACs, behind features that take {operations.macs:,}")
assert regression.macs == 12 * 561
assert found["raw", "logistic regression"][2].macs == 12 * 6 * 128
assert found["raw", "decision tree"][2].macs == 0
