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
# # 4. Multiply-accumulates, and what PyTorch does differently
#
# MACs by hand and by `mcubench.cost.profile`; then the exercise's questions about PyTorch, each answered by running
# something; then what is wrong in the printed code, each shown.
#
# By default networks are trained for one epoch, in less than a minute. `EXERCISE3=full` in the environment makes it
# five, from more seeds. Needs `pip install '.[keras]'`.

# %%
import itertools
import logging
import math
import os
import warnings

from mcubench.cost import profile  # before lightning, as mcubench mends torchvision
from mcubench.datamodules import MNIST
from mcubench.models import CNN, MLP
from mcubench.parity import compare, load_keras, to_keras, train_both

import lightning.pytorch as pl
import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

keras = load_keras()  # `import keras`, behind torch, on the backend that KERAS_BACKEND names (default: tensorflow)

torch.set_num_threads(1)  # tiny models are slower with more
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")
warnings.filterwarnings("ignore", message="Using padding='same' with even kernel lengths")

FULL = os.environ.get("EXERCISE3") == "full"
EPOCHS = 5 if FULL else 1
SEEDS = 5 if FULL else 2

# %% [markdown]
# ## MACs of a product of matrices
#
# (L x M) times (M x N): each of L N outputs is a sum of M products. Counted, on small ones:

# %%
rows, inner, columns = 3, 5, 4
a, b = np.arange(15.0).reshape(rows, inner), np.arange(20.0).reshape(inner, columns)
product, macs = np.zeros((rows, columns)), 0
for i, j, k in itertools.product(range(rows), range(columns), range(inner)):
    product[i, j] += a[i, k] * b[k, j]
    macs += 1
print(f"{rows} x {inner} times {inner} x {columns}: {macs} MACs")
assert np.array_equal(product, a @ b)
assert macs == rows * inner * columns

# %% [markdown]
# A dense layer is that: L samples, M inputs, N outputs. A device sees one sample at a time, so L is 1 wherever mcubench
# counts. Biases and activations are not counted.
#
# A convolution computes each element of its output from one kernel: output height x width x channels, times input
# channels x kernel height x width, padding included.

# %%
mlp = MLP(input_shape=(1, 28, 28), num_classes=10, hidden=(42,))
cnn = CNN(input_shape=(1, 28, 28), num_classes=10, channels=32, activation=None)  # the exercise's PyTorch net
by_hand = {
    "MLP": {"layers.1": 28 * 28 * 42, "layers.3": 42 * 10},
    "CNN": {"layers.0": (28 * 28 * 32) * (1 * 3 * 3), "layers.1": 0, "layers.4": (14 * 14 * 32) * 10},
}

table = Table(title="Every layer, by hand and by mcubench")
for column in ("net", "layer", "operation", "by hand", "mcubench"):
    table.add_column(column, justify="left" if column in ("net", "layer", "operation") else "right")
for net in (mlp, cnn):
    name = type(net).__name__
    report = profile(net, torch.zeros(1, 1, 28, 28))
    assert {layer.path: layer.macs for layer in report.layers} == by_hand[name]
    assert report.macs == sum(by_hand[name].values())
    for layer in report.layers:
        table.add_row(name, layer.path, layer.op, f"{by_hand[name][layer.path]:,}", f"{layer.macs:,}")
    table.add_row(name, "", "in all", f"{sum(by_hand[name].values()):,}", f"{report.macs:,}", end_section=True)
Console(width=110).print(table)
assert profile(mlp, torch.zeros(1, 1, 28, 28)).macs == 33_348

# %% [markdown]
# ## What is the equivalent of `model.fit`?
#
# The loop over epochs and batches. Here it is by hand, as in the exercise, beside Lightning's `fit`: the same initial
# weights, the same order of batches, the same optimiser give the same weights, bit for bit.

# %%
data = MNIST(batch_size=100, seed=0)
x_test, y_test = (torch.tensor(part[:2_000]) for part in data.arrays("test"))


def trained(net: nn.Module, criterion: nn.Module, epochs: int = EPOCHS, steps: int | None = None) -> list[float]:
    """Trains by hand, so many steps an epoch at most, and gives the loss of every step."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    batches, losses = data.train_dataloader(), []
    for epoch in range(epochs):
        batches.sampler.set_epoch(epoch)  # another order in every epoch
        for inputs, labels in itertools.islice(batches, steps):
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def accuracy(net: nn.Module) -> float:
    with torch.inference_mode():
        return (net(x_test).argmax(-1) == y_test).float().mean().item()


def new_mlp(seed: int = 0) -> MLP:
    torch.manual_seed(seed)
    return MLP(input_shape=(1, 28, 28), num_classes=10, learning_rate=1e-3, schedule="constant")


by_loop = new_mlp()
trained(by_loop, nn.CrossEntropyLoss())

by_fit = new_mlp()
trainer = pl.Trainer(
    max_epochs=EPOCHS,
    accelerator="cpu",
    limit_val_batches=0,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(by_fit, data)

print(f"test accuracy: loop {accuracy(by_loop):.2%}, fit {accuracy(by_fit):.2%}")
assert all(torch.equal(one, other) for one, other in zip(by_loop.parameters(), by_fit.parameters(), strict=True))

# %% [markdown]
# Keras' training, from the same weights on the same 50 batches, differs by rounding only:

# %%
both = train_both(new_mlp(), list(itertools.islice(data.train_dataloader(), 50)), optimizer="adam", learning_rate=1e-3)
print(f"largest relative gap of 50 losses: {both.gap:.1e}")
assert both.gap < 1e-3

# %% [markdown]
# ## Where is the softmax?
#
# In `CrossEntropyLoss`: it takes logits and is the negative logarithm of the softmax of the right class.

# %%
logits = by_loop(x_test).detach()
loss = nn.CrossEntropyLoss()(logits, y_test)
by_hand_loss = -logits.softmax(-1)[torch.arange(len(y_test)), y_test].log().mean()
print(f"CrossEntropyLoss of logits {loss:.6f}, by hand {by_hand_loss:.6f}")
assert torch.isclose(loss, by_hand_loss, rtol=1e-4)

# %% [markdown]
# Whoever puts a softmax into the network as well gets no error. Classes stay what they were, as softmax keeps the
# order; but the loss sees probabilities for logits. At best they are 1 and 0, so that it can't fall below log(1 + 9 /
# e), and gradients shrink.


# %%
class Twice(nn.Module):
    """A softmax before the one that is in the loss."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits.softmax(-1), labels)


def gradient(net: nn.Module, criterion: nn.Module) -> float:
    """Norm of the gradient of the first batch."""
    net.zero_grad()
    criterion(net(x_test[:100]), y_test[:100]).backward()
    return torch.cat([each.grad.flatten() for each in net.parameters()]).norm().item()


floor = math.log(1 + 9 / math.e)
criteria = {"softmax in the loss": nn.CrossEntropyLoss(), "softmax twice": Twice()}
curves: dict[str, list[list[float]]] = {name: [] for name in criteria}
for name, criterion in criteria.items():
    scores = []
    for seed in range(SEEDS):
        net = new_mlp(seed)
        begun = gradient(net, criterion)
        curves[name].append(trained(net, criterion))
        scores.append(accuracy(net))
    shown = ", ".join(f"{score:.1%}" for score in scores)
    print(f"{name:<20} first gradient {begun:.2f}, last losses {np.mean(curves[name][-1][-50:]):.3f}, test {shown}")

assert gradient(new_mlp(), criteria["softmax twice"]) < 0.3 * gradient(new_mlp(), criteria["softmax in the loss"])
assert np.min(curves["softmax twice"]) > floor > np.min(curves["softmax in the loss"])
assert torch.equal(logits.argmax(-1), logits.softmax(-1).argmax(-1))

figure, axis = plt.subplots(figsize=(7, 3.5))
for name, losses in curves.items():
    smooth = np.convolve(np.mean(losses, 0), np.ones(20) / 20, "valid")
    axis.plot(smooth, label=f"{name} (mean of {SEEDS} seeds)")
axis.axhline(floor, color="black", linestyle=":", label=f"log(1 + 9 / e) = {floor:.3f}")
axis.set(
    title="Softmax once and twice, MLP on MNIST", xlabel="step of 100 digits", ylabel="loss [nats], mean of 20 steps"
)
axis.legend()
axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Channels first, channels last
#
# PyTorch has samples x channels x height x width (NCHW), Keras the channels last (NHWC). `permute` goes from one to
# the other. With one channel, nothing moves in memory.

# %%
images = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 1)  # NHWC
first = torch.from_numpy(images).permute(0, 3, 1, 2)
print(f"NHWC {images.shape}, NCHW {tuple(first.shape)}")
assert np.array_equal(first.flatten().numpy(), images.flatten())

# %% [markdown]
# With 32 channels it does, and `Flatten` behind a convolution gives another order. The rows of the next dense kernel
# have to follow. `to_keras` sees to it; forgetting it costs everything, without any error.

# %%
torch.manual_seed(0)
cnn = CNN(input_shape=(1, 28, 28), num_classes=10, activation=None)
trained(cnn, nn.CrossEntropyLoss(), epochs=1, steps=100)

twin = to_keras(cnn)
dense = twin.get_layer("layers.4")
kernel = cnn.layers[4].weight.detach().numpy().T  # Keras has inputs x outputs
permuted = kernel.reshape(32, 14, 14, 10).transpose(1, 2, 0, 3).reshape(6272, 10)
assert np.array_equal(dense.get_weights()[0], permuted)
right = compare(cnn, twin, x_test[:100])
assert right.passed


def keras_accuracy(model: object) -> float:
    predicted = model.predict(x_test.permute(0, 2, 3, 1).numpy(), batch_size=500, verbose=0)
    return (predicted.argmax(1) == y_test.numpy()).mean()


followed = keras_accuracy(twin)
dense.set_weights([kernel, dense.get_weights()[1]])
forgotten = keras_accuracy(twin)
print(f"test accuracy: PyTorch {accuracy(cnn):.2%}, Keras {followed:.2%}, kernel not permuted {forgotten:.2%}")
assert not compare(cnn, twin, x_test[:100]).passed
assert forgotten < 0.5 < followed

# %% [markdown]
# ## How is "same" padding done?
#
# The exercise says `padding=((k-1)/2, (k-1)/2)`. In Python 3 that is a float, which `Conv2d` refuses; `(k - 1) // 2`
# is meant. It holds for odd kernels at stride 1, and so does `padding="same"`, which also takes even kernels. At
# stride 2 PyTorch has no "same", and Keras' pads nothing before and 1 after, if the size is even. `padding=1` pads
# both sides: other values.

# %%
torch.manual_seed(0)


def differs(size: int, k: int, stride: int, padding: int | str, before: tuple[int, ...] = (0, 0, 0, 0)) -> float:
    """Relative difference of PyTorch's convolution to Keras' with padding "same"; `before`: explicit padding."""
    conv = nn.Conv2d(2, 4, k, stride=stride, padding=padding, bias=False)
    x = torch.randn(1, 2, size, size)
    layer = keras.layers.Conv2D(4, k, strides=stride, padding="same", use_bias=False)
    layer.build((None, size, size, 2))
    layer.set_weights([conv.weight.detach().permute(2, 3, 1, 0).numpy()])
    theirs = keras.ops.convert_to_numpy(layer(x.permute(0, 2, 3, 1).numpy()))
    ours = conv(functional.pad(x, before)).detach().permute(0, 2, 3, 1).numpy()
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


cases = {
    "28 x 28, 3 x 3, stride 1, padding=1": (28, 3, 1, 1),
    "28 x 28, 5 x 5, stride 1, padding=2": (28, 5, 1, 2),
    "28 x 28, 3 x 3, stride 1, padding='same'": (28, 3, 1, "same"),
    "28 x 28, 4 x 4, stride 1, padding='same'": (28, 4, 1, "same"),
    "27 x 27, 3 x 3, stride 2, padding=1": (27, 3, 2, 1),
    "28 x 28, 3 x 3, stride 2, padding=1": (28, 3, 2, 1),
    "28 x 28, 3 x 3, stride 2, padded 0 before and 1 after": (28, 3, 2, 0, (0, 1, 0, 1)),
}
for name, case in cases.items():
    difference = differs(*case)
    print(f"{name:<54} {difference:.1e} {'' if difference < 1e-5 else 'other than Keras'}")
    assert (difference > 0.1) == (name == "28 x 28, 3 x 3, stride 2, padding=1")
    assert difference < 1e-5 or difference > 0.1

# %% [markdown]
# ## What is wrong in the printed code


# %%
def raised(code: str, **names: object) -> Exception:
    """The error that code ends with."""
    try:
        exec(code, names)
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).splitlines()[0]}")
        return error
    raise AssertionError(f"no error: {code}")


# %% [markdown]
# `keras.optimizers.Adam()` stands behind an import of `models` and `layers` only: the name `keras` is not there.

# %%
error = raised("from keras import models, layers\nkeras.optimizers.Adam()")
assert isinstance(error, NameError)

# %% [markdown]
# The Keras network has no `Flatten`. `Dense` works on the last axis, which has one value a pixel: every pixel goes
# through the same 1-42-10 net by itself, and the output is 28 x 28 x 10. It has few weights and many MACs, and its
# loss can't be computed with labels for whole images.

# %%
printed = keras.Sequential(
    [
        keras.layers.InputLayer(shape=(28, 28, 1)),
        keras.layers.Dense(42, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
print(f"output {printed.output_shape}, {printed.count_params()} weights")
assert printed.output_shape == (None, 28, 28, 10)
assert printed.count_params() == 1 * 42 + 42 + 42 * 10 + 10

printed.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adam())
x, y = np.zeros((100, 28, 28, 1), np.float32), np.eye(10, dtype=np.float32)[np.arange(100) % 10]
error = raised("printed.fit(x, y, batch_size=100, epochs=1, verbose=0)", printed=printed, x=x, y=y)
assert isinstance(error, ValueError)

same_in_torch = nn.Sequential(nn.Linear(1, 42), nn.ReLU(), nn.Linear(42, 10))
pixelwise = profile(same_in_torch, torch.zeros(1, 28, 28, 1)).macs
print(f"{pixelwise:,} MACs; with Flatten 33,348")
assert pixelwise == 28 * 28 * (1 * 42 + 42 * 10)

# %% [markdown]
# `nn.Linear(4732, 10)` does not fit the convolution and the pooling before it, which give 32 x 14 x 14 values.

# %%
convolution = [nn.Conv2d(1, 32, kernel_size=(3, 3), padding=(1, 1)), nn.MaxPool2d((2, 2)), nn.Flatten()]
values = nn.Sequential(*convolution)(torch.zeros(1, 1, 28, 28)).shape[1]
print(f"{values} values")
assert values == 32 * 14 * 14 == 6272
error = raised("net(x)", net=nn.Sequential(*convolution, nn.Linear(4732, 10)), x=torch.zeros(1, 1, 28, 28))
assert isinstance(error, RuntimeError)
assert nn.Sequential(*convolution, nn.Linear(6272, 10))(torch.zeros(1, 1, 28, 28)).shape == (1, 10)

# %% [markdown]
# `optim.Adam()` is not told what to optimise.

# %%
error = raised("optim.Adam()", optim=torch.optim)
assert isinstance(error, TypeError)
optimizer = torch.optim.Adam(mlp.parameters())

# %% [markdown]
# And the paddings above: a float, and "same" at stride 2.

# %%
error = raised("nn.Conv2d(1, 1, 3, padding=((3 - 1) / 2, (3 - 1) / 2))(x)", nn=nn, x=torch.zeros(1, 1, 28, 28))
assert isinstance(error, TypeError)
error = raised("nn.Conv2d(1, 1, 3, stride=2, padding='same')", nn=nn)
assert isinstance(error, ValueError)
