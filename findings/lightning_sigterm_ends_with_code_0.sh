#!/usr/bin/env bash
# The exit code of a process in which Lightning's Trainer is stopped by SIGTERM, as SLURM, timeout and docker stop send it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cd "$place"
cat > fit.py <<'PROGRAM'
import os
import signal

import lightning
import torch


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.net(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet)
trainer.fit(Net(), torch.utils.data.DataLoader(torch.zeros(64, 2), 4))
print("behind fit")
PROGRAM
code=0
venv/bin/python fit.py > said 2>&1 || code=$?
venv/bin/python -c 'import lightning, torch; print(f"lightning {lightning.__version__}, torch {torch.__version__}")'
echo "SIGTERM in step 4 of 16: what stands behind fit is run: $(grep -qx 'behind fit' said && echo yes || echo no); exit code $code"
echo "One would expect 143 of a training that was cut off, as shells have it: with 0 a script goes on as if it had ended well."
if [ "$code" -ne 0 ] || grep -qx 'behind fit' said; then
    echo "this is no longer so" >&2
    exit 1
fi
