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
# # 1. MNIST: decision trees and support vector machines
#
# How accurate are classical models on handwritten digits, and do they fit a microcontroller? scikit-learn trains
# them, mcubench runs and prices them.
#
# By default this takes 4,000 training and 2,000 test digits, and less than a minute. `EXERCISE3=full` in the
# environment takes all 60,000 and 10,000.

# %%
import logging
import os
import warnings

from mcubench.baselines import SVM, Baseline, DecisionTree  # before lightning, as mcubench mends torchvision
from mcubench.cost import BitWidths, CostReport, bytes_text, find_device, profile
from mcubench.datamodules import MNIST, Arrays

import lightning.pytorch as pl
import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

torch.set_num_threads(1)  # tiny models are slower with more
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")

FULL = os.environ.get("EXERCISE3") == "full"
TRAIN, TEST = (60_000, 10_000) if FULL else (4_000, 2_000)
SVM_SAMPLES = (300, 1_000, 3_000, 10_000) if FULL else (100, 300, 1_000)


# %% [markdown]
# ## The data
#
# A tenth of the training digits is put aside for validation, class shares kept. Pixels are scaled by the mean and the
# standard deviation of the rest.


# %%
class FirstDigits(MNIST):
    """The first digits of MNIST."""

    def load(self) -> tuple[Arrays, Arrays]:
        train, test = super().load()
        return train.take(np.arange(TRAIN)), test.take(np.arange(TEST))


data = FirstDigits()
shape = {"input_shape": data.input_shape, "num_classes": data.num_classes}
x, y = data.arrays("train")
x_test, y_test = data.arrays("test")
print(f"training part {x.shape}, test {x_test.shape}, {data.num_classes} classes")

figure, axes = plt.subplots(1, 10, figsize=(10, 1.5))
for digit, axis in enumerate(axes):
    axis.imshow(x[y == digit][0, 0], cmap="gray_r")
    axis.set_title(str(digit))
    axis.axis("off")
figure.suptitle("The first digit of each class, 28 x 28 pixels")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Plain scikit-learn
#
# It takes rows of 784 pixels.

# %%
rows, test_rows = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)

plain_tree = DecisionTreeClassifier(max_depth=8, random_state=0)
plain_tree.fit(rows, y)
print(f"DecisionTreeClassifier {plain_tree.score(test_rows, y_test):.2%}")

plain_svm = SVC(kernel="rbf")
plain_svm.fit(rows[:1_000], y[:1_000])
print(f"SVC                    {plain_svm.score(test_rows, y_test):.2%}")

# %% [markdown]
# ## The same under Lightning's Trainer
#
# `DecisionTree` and `SVM` are these estimators as LightningModules. `fit` fits them once, whatever `max_epochs` says,
# and `test` scores them batch by batch. With numbers of 32 bits the accuracies are the same to the last digit.


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


def tested(model: Baseline) -> float:
    """Accuracy on the test digits."""
    return trainer().test(model, data, verbose=False)[0]["test/accuracy"]


tree = DecisionTree(max_depth=8, seed=0, bits="float32", **shape)
trainer().fit(tree, data)
svm = SVM(kernel="rbf", bits="float32", **shape)
svm.fit(x[:1_000], y[:1_000])  # without a Trainer: on any arrays
for ours, plain in ((tree, plain_tree), (svm, plain_svm)):
    accuracy = tested(ours)
    print(f"{type(ours).__name__:<22} {accuracy:.2%}")
    assert round(len(y_test) * accuracy) == (plain.predict(test_rows) == y_test).sum()

# %% [markdown]
# ## What they cost, by hand
#
# A tree multiplies nothing: at worst it compares once a level. Each split is a word of 4 B, which has its feature (10
# bits), the size of its left subtree and an 8-bit threshold; each leaf stores its class (1 B).
#
# An SVM with V support vectors of F pixels computes V kernel values, F multiply-accumulates each, and weighs them for
# each pair of the C classes: every vector is in C - 1 pairs. Vectors and weights are stored at 8 bits. Each of the
# C (C - 1) / 2 pairs has a bias (4 B), and it and the kernel have a multiplier and a shift (8 B).
#
# That is the price at 8 bits. `profile` gives it for any widths; without any, for those that the model is scored at.

# %%
cost = profile(tree, x[:1], BitWidths(8, 8))
leaves = plain_tree.get_n_leaves()
splits = leaves - 1
print(f"tree: {leaves} leaves, {cost.macs} MACs, {cost.comparisons} comparisons, flash {bytes_text(cost.flash_bytes)}")
assert cost.macs == 0
assert cost.comparisons == plain_tree.get_depth()
assert cost.flash_bytes == 4 * splits + leaves  # a word each, which has the threshold in it, and a class

cost = profile(svm, x[:1], BitWidths(8, 8))
vectors, pairs = len(plain_svm.support_vectors_), 10 * 9 // 2
print(f"SVM: {vectors} of 1,000 samples are support vectors, {cost.macs:,} MACs, flash {bytes_text(cost.flash_bytes)}")
assert cost.macs == vectors * 784 + 9 * vectors
assert cost.flash_bytes == vectors * 784 + 9 * vectors + pairs * (4 + 8) + 8

# %% [markdown]
# ## Trees by depth
#
# The last tree grows until every leaf is pure: it is right on all that it was trained on. How far the test accuracy
# stays below is what it overfits. Each level is one more comparison, and up to twice the flash. From here on each model
# is scored as a device would store it: with the fewest bits that lose at most 0.1 points of validation accuracy.


# %%
def show(title: str, *columns: str, rows: list[tuple[object, ...]]) -> None:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=110).print(table)


trees: list[tuple[int, float, float, CostReport]] = []
for depth in (2, 4, 6, 8, 10, 12, None):
    model = DecisionTree(max_depth=depth, seed=0, **shape)
    trainer().fit(model, data)
    trees.append(
        (model.estimator.get_depth(), model.float_estimator.score(rows, y), tested(model), profile(model, x[:1]))
    )

show(
    "Decision trees on MNIST",
    *("depth", "training", "bits", "test", "comparisons", "flash"),
    rows=[
        (depth, f"{fitted:.1%}", cost.widths.weight, f"{accuracy:.1%}", cost.comparisons, bytes_text(cost.flash_bytes))
        for depth, fitted, accuracy, cost in trees
    ],
)
assert trees[-1][1] == 1
assert all(cost.comparisons == depth for depth, *_, cost in trees)

# %%
depths = [depth for depth, *_ in trees]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
left.plot(depths, [100 * fitted for _, fitted, _, _ in trees], "o-", label="training")
left.plot(depths, [100 * accuracy for _, _, accuracy, _ in trees], "o-", label="test")
left.set(title="Decision trees: accuracy", xlabel="depth [levels]", ylabel="accuracy [%]")
left.legend()
right.semilogy(depths, [cost.flash_bytes for *_, cost in trees], "o-")
right.set(title="Decision trees: flash", xlabel="depth [levels]", ylabel="flash [B]")
for axis in (left, right):
    axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## SVMs by number of training samples
#
# `max_samples` draws them, class shares kept. Support vectors are kept from among them, so that cost grows with the
# training set, unlike a network's. A linear kernel needs none of them on a device: its vectors fold into one weight a
# pixel for each pair of classes, 45 * 784 MACs however many samples it saw.

# %%
svms: dict[str, list[tuple[int, int, float, CostReport]]] = {"rbf": [], "linear": []}
for kernel, points in svms.items():
    for samples in SVM_SAMPLES:
        model = SVM(kernel=kernel, max_samples=samples, seed=0, **shape)
        trainer().fit(model, data)
        points.append((samples, int(model.estimator.n_support_.sum()), tested(model), profile(model, x[:1])))

show(
    "SVMs on MNIST",
    *("kernel", "samples", "support vectors", "bits", "test", "MACs", "comparisons", "exp", "flash"),
    rows=[
        (kernel, *counts, cost.widths.weight, f"{accuracy:.1%}", *numbers, bytes_text(cost.flash_bytes))
        for kernel, points in svms.items()
        for *samples, accuracy, cost in points
        for counts in [[f"{count:,}" for count in samples]]
        for numbers in [[f"{count:,}" for count in (cost.macs, cost.comparisons, cost.functions)]]
    ],
)
assert all(cost.macs == 793 * vectors for _, vectors, _, cost in svms["rbf"])
assert all(cost.macs == 45 * 784 for *_, cost in svms["linear"])

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
for kernel, points in svms.items():
    left.semilogx(SVM_SAMPLES, [100 * accuracy for _, _, accuracy, _ in points], "o-", label=kernel)
    right.loglog(SVM_SAMPLES, [vectors for _, vectors, _, _ in points], "o-", label=kernel)
right.loglog(SVM_SAMPLES, SVM_SAMPLES, "k:", label="all samples")
left.set(title="SVMs: accuracy", xlabel="training samples", ylabel="test accuracy [%]")
right.set(title="SVMs: support vectors", xlabel="training samples", ylabel="support vectors")
for axis in (left, right):
    axis.legend()
    axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What fits?
#
# All of them against the flash of two microcontrollers. The models alone: no code, no stack.

# %%
boards = [find_device("stm32f446"), find_device("atmega328p")]
every = {
    "decision tree": [(accuracy, cost) for *_, accuracy, cost in trees],
    "SVM, rbf": [(accuracy, cost) for *_, accuracy, cost in svms["rbf"]],
    "SVM, linear": [(accuracy, cost) for *_, accuracy, cost in svms["linear"]],
}
figure, axis = plt.subplots(figsize=(7, 4))
for name, points in every.items():
    axis.semilogx([cost.flash_bytes / 1024 for _, cost in points], [100 * a for a, _ in points], "o-", label=name)
for board, style in zip(boards, ("--", ":"), strict=True):
    axis.axvline(board.flash / 1024, color="black", linestyle=style, label=f"{board.name}: {board.flash // 1024} KiB")
axis.set(title="Accuracy against flash on MNIST", xlabel="flash [KiB]", ylabel="test accuracy [%]")
axis.legend()
axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()

print("The most accurate that fits:")
for board in boards:
    fitting = [
        (accuracy, name, cost)
        for name, points in every.items()
        for accuracy, cost in points
        if cost.flash_bytes <= board.flash and cost.ram_bytes <= board.ram
    ]
    accuracy, name, cost = max(fitting, key=lambda each: each[0])
    sizes = f"flash {bytes_text(cost.flash_bytes)}, RAM {bytes_text(cost.ram_bytes)}"
    print(f"{board.name}: {name}, {accuracy:.1%}, {cost.macs:,} MACs, {cost.comparisons} comparisons, {sizes}")
