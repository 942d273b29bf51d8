"""What int8 costs in accuracy: quantisation-aware training against float training, over seeds.

    python -m benchmarks.quantization --write docs/quantization.md

Every network is trained twice or more from the same seed, with the same batches and number of epochs: in float, and
with `QuantizationAwareTraining`, which rounds from two thirds of the epochs on. Scored is the last epoch of each on the
whole test set; nothing is selected. A quantised accuracy is that of the integer graph, whose bytes are TFLite Micro's.
Differences are paired by seed. The float networks are also quantised after training, with ranges from 1,000 training
samples.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import torch
from rich.progress import track
from torch import Tensor

from benchmarks.command_line import exit_code
from benchmarks.tables import interval, table, write_tables
from mcubench.callbacks import QuantizationAwareTraining
from mcubench.cost import BitWidths
from mcubench.datamodules import HAPT, MNIST, TensorDataModule
from mcubench.graph import deploy, trace
from mcubench.models import CNN, DSCNN, GRU, LSTM, MLP, Classifier, CNN1d
from mcubench.quant import IntegerGraph, quantize
from mcubench.quant.integer import predict
from mcubench.quant.training import trained_ranges

import lightning.pytorch as pl  # isort: skip  # after mcubench, which mends torchvision where that is needed

CALIBRATION = 1000


@dataclass(frozen=True)
class Case:
    """One network on one set of data.

    Attributes:
        model: Its class.
        data: The data module's class.
        epochs: Of every training.
        options: Of the data module.
        bits: Widths of weights to train with.
    """

    model: type[Classifier]
    data: type[TensorDataModule]
    epochs: int
    options: Mapping[str, Any] = field(default_factory=dict)
    bits: tuple[int, ...] = (8,)


CASES = {
    "MLP, MNIST": Case(MLP, MNIST, 6, bits=(8, 4)),
    "CNN, MNIST": Case(CNN, MNIST, 3),
    "DSCNN, MNIST": Case(DSCNN, MNIST, 3),
    "MLP, HAPT's features": Case(MLP, HAPT, 15, {"inputs": "features"}, (8, 4, 2)),
    "MLP, HAPT's windows": Case(MLP, HAPT, 15, bits=(8, 4)),
    "CNN1d, HAPT's windows": Case(CNN1d, HAPT, 15, bits=(8, 4)),
    "GRU, HAPT's windows": Case(GRU, HAPT, 15, bits=(8, 4)),
    "LSTM, HAPT's windows": Case(LSTM, HAPT, 15, bits=(8, 4)),
}


def data_of(name: str, root: str | None) -> TensorDataModule:
    case = CASES[name]
    data = case.data(root=root, **case.options)
    data.prepare_data()
    data.setup()
    return data


def trained(case: Case, data: TensorDataModule, seed: int, callbacks: list[pl.Callback]) -> Classifier:
    pl.seed_everything(seed, verbose=False)
    model = case.model(data.input_shape, data.num_classes)
    trainer = pl.Trainer(
        max_epochs=case.epochs,
        accelerator="cpu",
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    trainer.fit(model, data)
    return model.eval()


def accuracy(outputs: Tensor, y: Tensor) -> float:
    """Percent."""
    return 100 * float((outputs.flatten(1).argmax(1) == y).double().mean())


def integer_accuracy(graph: IntegerGraph, x: Tensor, y: Tensor) -> float:
    return accuracy(predict(graph, *graph.encode(x))[0], y)


def scored(name: str, seed: int, root: str | None) -> dict[str, Any]:
    """The accuracies of one seed, in percent, by what was done."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    case, data = CASES[name], data_of(name, root)
    data.seed = seed
    x, y = (torch.from_numpy(part.copy()) for part in data.arrays("test"))
    begun = time.perf_counter()
    model = trained(case, data, seed, [])
    with torch.no_grad():
        found = {"float": accuracy(torch.cat([model(part) for part in x.split(500)]), y)}
    graph = deploy(trace(model, x[:1]))
    training = torch.from_numpy(data.arrays("train")[0].copy())
    some = training[torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))[:CALIBRATION]]
    for bits in case.bits:
        after = quantize(graph, calibration=some, widths=BitWidths(bits))
        found[f"after {bits}"] = integer_accuracy(after, x, y)
        callback = QuantizationAwareTraining(weight_bits=bits, start_epoch=2 * case.epochs // 3)
        model = trained(case, data, seed, [callback])
        rounded, ranges, widths = trained_ranges(model, x[:1], callback.state_dict())
        found[f"aware {bits}"] = integer_accuracy(quantize(rounded, ranges, widths=widths), x, y)
    return {"name": name, "seed": seed, "seconds": time.perf_counter() - begun, "accuracy": found}


def rows(results: list[dict[str, Any]]) -> list[list[str]]:
    found = []
    for name, case in CASES.items():
        scores = [each["accuracy"] for each in results if each["name"] == name]
        for bits in case.bits if scores else ():
            row = [name, str(bits), interval([each["float"] for each in scores])]
            for way in ("after", "aware"):
                row.append(interval([each[f"{way} {bits}"] for each in scores]))
                row.append(interval([each[f"{way} {bits}"] - each["float"] for each in scores], "+.2f"))
            found.append(row)
    return found


def run(options: argparse.Namespace) -> int:
    begun = time.perf_counter()
    done: list[dict[str, Any]] = []
    if options.results and options.results.exists():
        done = [json.loads(line) for line in options.results.read_text("utf-8").splitlines()]
    known = {(each["name"], each["seed"]) for each in done}
    names = options.only or CASES
    todo = [(name, seed) for name in names for seed in range(options.seeds) if (name, seed) not in known]
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        pool = joblib.Parallel(n_jobs=options.jobs, return_as="generator_unordered")
        for result in track(
            pool(joblib.delayed(scored)(name, seed, options.root) for name, seed in todo), "train", len(todo)
        ):
            done.append(result)
            if options.results:
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
    head = "network, data | weight bits: | float [%]: | after training [%]: | minus float: | aware [%]: | minus float:"
    epochs = ", ".join(f"{name}: {case.epochs}" for name, case in CASES.items())
    note = (
        "Test accuracy in percent and differences in points, mean and 95 % interval (Student's t) over "
        f"{options.seeds} seeds; activations of 8 bits. Epochs: {epochs}."
    )
    content = f"{table(head, rows(done))}\n\n{note}"
    if options.write:
        write_tables(options.write, {"accuracy": content})
    else:
        print(content)
    print(f"{len(todo)} seeds trained in {time.perf_counter() - begun:.0f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the data root (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each (default: 5)")
    parser.add_argument("--only", nargs="+", choices=CASES, help="train these alone; others stay as --results has them")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once (default: 2)")
    parser.add_argument("--results", type=Path, help="keep what was measured in this file; what is in it is not redone")
    parser.add_argument("--write", type=Path, help="put the table between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
