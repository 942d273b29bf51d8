"""mcubench's callbacks around a LightningModule that knows nothing of it, under a plain Trainer.

    python examples/own_module.py

Prints what the net costs, trains it for two epochs within a budget, then goes on from last.ckpt to the fourth: the
weights are those of four epochs in one go. A budget that is one byte too small refuses it before the first epoch.
"""

import tempfile
from pathlib import Path

from mcubench.callbacks import EpochTimer, LastCheckpoint, MACs, RandomState, SizeBudget
from mcubench.datamodules import Digits
from mcubench.errors import BudgetExceededError

import lightning.pytorch as pl  # isort: skip  # after mcubench, which mends torchvision where that is needed
import torch  # isort: skip
from torch import Tensor, nn  # isort: skip


class OwnNet(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


# Weights 64 * 32 + 32 * 10 of 8 bits, and for each of the 42 neurons an int32 bias, a multiplier and a shift.
FLASH = 64 * 32 + 32 * 10 + 42 * (4 + 8)


def train(
    epochs: int, folder: Path, ckpt_path: Path | None = None, flash: int | str = FLASH, table: bool = False
) -> tuple[OwnNet, EpochTimer]:
    pl.seed_everything(0)
    net, timer = OwnNet(), EpochTimer()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_model_summary=False,
        callbacks=[
            timer,
            RandomState(),
            LastCheckpoint(),
            MACs(print_table=table),
            SizeBudget(flash=flash, ram="128 B", macs="2.5 k"),
        ],
    )
    trainer.fit(net, Digits(size=8), ckpt_path=ckpt_path, weights_only=True)
    return net, timer


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, timer = train(4, folder / "whole", table=True)
        train(2, folder / "parts")
        resumed, _ = train(4, folder / "parts", folder / "parts" / "checkpoints" / "last.ckpt")
    same = all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    try:
        train(4, folder, flash=FLASH - 1)
    except BudgetExceededError as error:
        print(f"refused: {error}")
    print(f"{timer.epoch:.3f} s per epoch; resumed weights equal those of one run: {same}")


if __name__ == "__main__":
    main()
