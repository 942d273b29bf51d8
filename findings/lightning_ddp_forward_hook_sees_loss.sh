#!/usr/bin/env bash
# Lightning's DDP: a forward hook on the LightningModule also gets what training_step returns.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging
import sys
import warnings

import lightning
import torch
from torch import nn

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
seen = []


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


if __name__ == "__main__":
    samples = [(torch.randn(4), index % 2) for index in range(16)]
    net = Net()
    net.register_forward_hook(lambda module, args, output: seen.append(output.ndim))
    several = {"devices": 2, "strategy": "ddp"} if sys.argv[1] == "ddp" else {"devices": 1}
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", enable_model_summary=False, **several, **quiet)
    trainer.fit(net, torch.utils.data.DataLoader(samples, 4))
    if trainer.is_global_zero:
        print("seen", *seen)
PROGRAM
one=$(venv/bin/python program.py one 2>/dev/null | grep "^seen")
ddp=$(venv/bin/python program.py ddp 2>/dev/null | grep "^seen")
echo "dimensions of what the hook got in one step, one process: ${one#seen }"
echo "two processes with strategy ddp: ${ddp#seen }"
[ "$one" = "seen 2" ] && [ "$ddp" = "seen 2 0" ]
echo "Lightning 2.6.6: one step calls the hook once, with logits of 2 dimensions. With ddp it is called twice: the logits, and then"
echo "the loss of no dimension, as Lightning has DistributedDataParallel call the module and replaces its forward by training_step"
echo "for that one call. What listens to a module's outputs must tell the two apart."
