#!/usr/bin/env bash
# Lightning's StochasticWeightAveraging: which checkpoint has the average, and how many epochs are run.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cd "$place"
venv/bin/python - <<'PROGRAM'
import glob
import logging
import sys
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from torch import nn

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
EPOCHS = 4


class Net(lightning.LightningModule):
    def __init__(self, middle):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), middle, nn.Linear(8, 2))
        self.begun = 0

    def on_train_epoch_start(self):
        self.begun += 1

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.5)


def fitted(name, middle):
    """Epochs that began, and the checkpoints that hold the weights that the module has after the fit."""
    torch.manual_seed(0)
    samples = [(torch.randn(4), index % 2) for index in range(64)]
    net = Net(middle)
    callbacks = [
        StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1),
        ModelCheckpoint(name, filename="{epoch}", save_top_k=-1, save_last=True),
    ]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=EPOCHS, callbacks=callbacks, **quiet)
    trainer.fit(net, torch.utils.data.DataLoader(samples, 16))
    averaged = net.state_dict()
    holding = []
    for path in sorted(glob.glob(f"{name}/*.ckpt")):
        stored = torch.load(path, weights_only=False)["state_dict"]
        if all(torch.allclose(averaged[key], stored[key]) for key in averaged if key.endswith("weight")):
            holding.append(path)
    return net.begun, trainer.current_epoch, holding


plain = fitted("tanh", nn.Tanh())
normed = fitted("batchnorm", nn.BatchNorm1d(8))
print(f"lightning {lightning.__version__}, torch {torch.__version__}; max_epochs={EPOCHS}, average from epoch 1 on")
for what, (begun, counted, holding) in (("without batch norm", plain), ("with batch norm", normed)):
    print(f"{what}: {begun} epochs began, trainer.current_epoch is {counted} after the fit")
    print(f"  checkpoints with the averaged weights that the module ends with: {', '.join(holding) or 'none'}")
as_described = (
    plain == (EPOCHS, EPOCHS, [])
    and normed[:2] == (EPOCHS + 1, EPOCHS + 1)
    and normed[2] == ["batchnorm/epoch=4.ckpt", "batchnorm/last.ckpt"]
)
print("One would expect the average in the last checkpoint of either, and 4 epochs of 4.")
if not as_described:
    sys.exit("this is no longer so")
PROGRAM
