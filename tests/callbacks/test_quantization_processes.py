"""QuantizationAwareTraining in two processes: one process with both halves of each batch is the reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import forked

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys, warnings
from mcubench.callbacks import QuantizationAwareTraining  # before lightning
import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")

class Gated(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.gate, self.net = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    def forward(self, x):
        return self.net(x * self.gate(x).sigmoid())
    def training_step(self, batch, i):  # a product, a sum and two forwards: calls of the step, and none of a forward
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y) * 0.5
        return loss + 0.5 * nn.functional.cross_entropy(self(x * 0.5), y)
    def train_dataloader(self):  # each process has every other sample, in their order
        torch.manual_seed(0)
        x = torch.randn(256, 6) * torch.linspace(0.5, 3, 256)[:, None]
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        data = TensorDataset(x[rank::processes], (x[rank::processes, 0] > 0).long())
        return DataLoader(data, 32 // processes, shuffle=False)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class CallsLayers(Gated):
    def training_step(self, batch, i):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

def fit(net, observer, devices):
    qat = QuantizationAwareTraining(observer=observer, freeze_observers_epoch=1)
    trainer = pl.Trainer(max_epochs=2, callbacks=[qat], devices=devices, strategy="ddp" if devices > 1 else "auto",
                         accelerator="cpu", use_distributed_sampler=False, logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False)
    try:
        trainer.fit(net)
    except Exception as error:
        return f"{type(error).__name__}: {error}", trainer
    return qat.state_dict(), trainer

def net(kind=Gated):
    torch.manual_seed(0)
    return kind()

folder, devices = sys.argv[1], int(sys.argv[2])
found = {}
for observer in ("moving_average", "mse"):
    module = net()
    state, trainer = fit(module, observer, devices)
    weights = torch.cat([each.detach().flatten() for each in module.parameters()]).tolist()
    found[observer] = {"state": state, "weights": weights}
found["refused"], _ = fit(net(CallsLayers), "moving_average", devices)
with open(f"{folder}/{devices}-{trainer.global_rank}.json", "w") as file:
    json.dump(found, file)
"""


def test_processes_learn_the_ranges_of_all_and_are_watched(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    for devices in ("1", "2"):
        forked.run([str(tmp_path / "script.py"), str(tmp_path), devices], check=True, timeout=150)
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    for observer in ("moving_average", "mse"):
        assert first[observer] == second[observer], "bit for bit"
        assert first[observer]["state"]["batches"] == 2 * 8, "two forwards a step"
    one, two = (each["moving_average"] for each in (alone, first))
    assert two["weights"] == pytest.approx(one["weights"], abs=1e-5)
    for key, ends in one["state"]["ranges"].items():
        assert two["state"]["ranges"][key] == pytest.approx(ends, rel=1e-4, abs=1e-5), key
    for each in (alone, first, second):
        assert each["refused"].startswith("UserError: CallsLayers computes with net.0.weight outside of its forward")
