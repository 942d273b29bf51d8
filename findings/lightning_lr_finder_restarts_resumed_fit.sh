#!/usr/bin/env bash
# Lightning's LearningRateFinder in a fit that goes on from a checkpoint.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cd "$place"
venv/bin/python - <<'PROGRAM'
import logging
import os
import sys
import warnings

os.environ["TQDM_DISABLE"] = "1"
import lightning
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from torch import nn

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.lr, self.net, self.losses = 0.1, nn.Linear(4, 2), 0

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def on_train_start(self):
        self.began = self.trainer.current_epoch, self.trainer.global_step
        self.weights = self.net.weight.detach().clone()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


torch.manual_seed(0)
SAMPLES = [(torch.randn(4), index % 2) for index in range(480)]
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def fitted(epochs, callbacks, checkpoint=None):
    net, loader = Net(), torch.utils.data.DataLoader(SAMPLES, 16)
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=callbacks, **QUIET)
    trainer.fit(net, loader, ckpt_path=checkpoint)
    return net, trainer


first, trainer = fitted(2, [])
trainer.save_checkpoint("two_epochs.ckpt")
print(f"lightning {lightning.__version__}, torch {torch.__version__}; a checkpoint after 2 epochs of 30 steps")
found = {}
for what, callbacks in (("alone", []), ("with LearningRateFinder", [LearningRateFinder(num_training_steps=60)])):
    net, trainer = fitted(3, callbacks, "two_epochs.ckpt")
    found[what] = (*net.began, torch.equal(net.weights, first.net.weight))
    print(
        f"fit to 3 epochs from it, {what}: training begins at epoch {net.began[0]}, step {net.began[1]}, "
        f"with the checkpoint's weights: {found[what][2]}; it ends at step {trainer.global_step}"
    )
print("One would expect both to begin at epoch 2, step 60, and to train for one epoch more.")
if found != {"alone": (2, 60, True), "with LearningRateFinder": (0, 0, True)}:
    sys.exit("this is no longer so")
PROGRAM
