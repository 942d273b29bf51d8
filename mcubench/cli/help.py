"""Help texts that need no import."""

from __future__ import annotations

import textwrap

from mcubench.cli.options.names import BASELINES, DATA, MODELS

__all__ = ["OVERVIEW", "VERBS", "describe", "describe_file"]

VERBS = {
    "fit": "train a model, score it on all three parts, and write a run folder",
    "validate": "measure a trained model on the validation part",
    "test": "measure a trained model on the test set",
    "profile": "price a model without training it, by layer; does it fit a device?",
    "parity": "does Keras compute the same? by layer, or in training side by side",
    "quantize": "measure what int8 costs a trained model, down to TFLite Micro",
    "export": "write a trained model as .tflite, C, ONNX or Keras",
    "emulate": "run its C on an emulated core: every byte, instructions, memory",
    "predict": "write a trained model's class for every test sample to a CSV file",
    "compare": "put finished runs in one table: seeds, costs, the Pareto front",
    "search": "find the model that scores best within a budget of flash, RAM, MACs",
}

_WIDTH = 79  # characters that help is written in: an 80-column terminal's, and one to spare

OVERVIEW = f"""\
usage: python -m mcubench VERB [options]

Train and measure models small enough for microcontrollers.

verbs:
{"".join(f"  {verb:<10}{text}{chr(10)}" for verb, text in VERBS.items())}
models:  {"  ".join(MODELS)}
         {"  ".join(BASELINES[:5])}
         {"  ".join(BASELINES[5:-1])}
         {BASELINES[-1]} (any classifier of scikit-learn's)  or your own: my_file.MyNet
data:    {"  ".join(DATA)}  or your own: my_file.MyData

examples:
  python -m mcubench fit                           a small net, offline
  python -m mcubench fit --model CNN --data MNIST --trainer.max_epochs 5
  python -m mcubench fit --model DSCNN --data HAPT
  python -m mcubench fit --model MLP --model.hidden [64,32]
  python -m mcubench fit --model DecisionTree --data MNIST
  python -m mcubench fit --model DecisionTree --folds 5      cross-validation
  python -m mcubench fit --seeds 8                 mean and 95 % interval
  python -m mcubench fit --ckpt_path last          go on with the newest run
  python -m mcubench test --ckpt_path best         its best model
  python -m mcubench profile --model CNN --data MNIST --device stm32f446
  python -m mcubench profile net.tflite --counts st gapflow    a file
  python -m mcubench compare --plot pareto         accuracy over costs
  python -m mcubench parity --ckpt_path best       needs keras
  python -m mcubench quantize --ckpt_path best     needs the export packages
  python -m mcubench export --ckpt_path best --format c
  python -m mcubench emulate --ckpt_path best --device stm32f446
  python -m mcubench search --model DSCNN --data MNIST --budget.flash 4KiB

MNIST and HAPT are looked for under --data.root, else $MCUBENCH_DATA, else the
user's cache folder.

options:
  -h, --help     this text; VERB --help lists all options,
                 VERB --model.help CNN those of a model
  --version      print the version
  --debug        show the traceback of an error, not only its message
  --trust        run code that came with a run's folder or a --config, too
"""


_TRAINED = """\
--ckpt_path best | last: the newest run's checkpoint; or a file, or a run's folder
  The model, the data and their options are those of its run, unless given anew."""

_QUANTIZATION = """\
--weight_bits 4, --bits_per_layer '{{"layers.0": 8}}': of weights; TFLite stores 8 and 4 bits
--calibration_samples 5000 --observer mse: how ranges are observed, on training data only
  A run with quantisation-aware training has learned both: these options are refused for it."""

_TEXTS = {
    "fit": """\
--model one of {models}, or module.Class of your own; its options: --model.help CNN
  or a classical one: {baselines}
--data one of {data}, or module.Class of your own; its options: --data.help MNIST
--trainer.max_epochs, --trainer.max_steps: how long; --trainer.accelerator: cpu, gpu, auto
--config run.yaml: options from a file (every run folder has one); later options win
--print_config: print all options as such a file
--ckpt_path last: go on with the newest run, in its folder and with its options
--folds 5: cross-validation, a run for each fold, then mean and spread; HAPT's --folds 21 leaves one person out
--seeds 8: the same fit with eight seeds, from --seed_everything on: a run for each, then mean and 95 % interval;
  plain networks are trained all at once, anything else one after another
--workers 2 or --scheduler tcp://host:8786, beside --folds or --seeds: a fit for each worker of Dask's (docs/cluster.md)
--threads 1: threads to train with on the CPU; not given, the fastest number is measured first
--budget.flash 32KiB --budget.ram 8KiB --budget.macs 1M: refuse a model that needs more
--trainer.callbacks+=ImageAugmentation --trainer.callbacks.shift=2, SignalAugmentation, Mixup: other samples each epoch
--distill runs/large: learn from a larger model, too; docs/recipes.md has these, and what each is worth""",
    "profile": """\
--model one of {models}, or module.Class of your own: any torch module
--data one of {data}, for the shape of a sample; or --input_shape 3,32,32
--ckpt_path best: the model of a run
--weight_bits 4 --activation_bits 8: what the model will be quantised to
--device stm32f446 rp2040, or all: does it fit, and how long might it take?
profile FILE: a .tflite, .onnx, .keras, .h5 or .pt2 instead; profile FILE --help
--counts st gapflow: what STM32Cube.AI and GapFlow's nntool would count for it, and why it is not the MACs here
--json, --csv, --plot: all figures, a row a layer, a picture of the activation arena""",
    "parity": """\
--model one of {models}, or module.Class of your own: any torch module
--data one of {data}, for real test samples; or --input_shape 3,32,32 for random ones
--ckpt_path best: the model of a run, as it was trained
--backend tensorflow or torch: what Keras runs on
parity FILE --against FILE, or a run: two files instead; parity FILE --help
--train 50: also train both from the same weights on the same batches, and compare the losses
--train 50 --defaults: also train Keras with its own defaults, one at a time: which of them matter?
--json, --plot, --save model.keras: all figures, the curves of losses, the Keras model

Exit code 0 if both agree, 1 if they do not, 2 if the question was wrong.""",
    "quantize": """\
--ckpt_path best | last: the newest run's checkpoint; or a file, or a run's folder
"""
    + _QUANTIZATION
    + """
--samples 500: of the test set; not given, all of it
quantize FILE: the bytes of a .tflite beside TFLite Micro's; quantize FILE --help
  A classical model is measured in int8, int16 and float32; fit --model.bits int16 chooses one.
--json, --plot sqnr.png: all figures, the signal-to-noise ratio by layer""",
    "export": """\
--ckpt_path best | last: the newest run's checkpoint; or a file, or a run's folder
--format tflite c onnx keras: one or several
  tflite   int8, bit-exact in TFLite Micro
  c        the same as an aligned array, with the operators and the arena that TFLite Micro needs
  onnx     float operators between QuantizeLinear and DequantizeLinear, with the same scales
           --float: the float model, recurrent layers and all; --opset 13, --batch 1: as some compilers want it
  keras    the float model
--output models/: a folder; or a file, as in net.tflite; not given, the folder export of the run
"""
    + _QUANTIZATION,
    "compare": """\
Runs of the same model and data that differ by their seed only are one row: mean and 95 % interval over the seeds.

  python -m mcubench compare                          all of the folder runs
  python -m mcubench compare runs/*-MNIST             some of them
  python -m mcubench compare runs old_runs --csv all.csv  two folders, as a file
  python -m mcubench compare --markdown all.md        the table for a report
  python -m mcubench compare --plot pareto            pareto.png and pareto.svg
  python -m mcubench compare --suite exercise3        train 27 models, 3 seeds
  python -m mcubench compare --suite exercise3 --workers 2   two at a time

A suite skips what is done, so that the same command goes on after Ctrl-C; its runs and tables are in runs/exercise3.
--workers and --scheduler have its fits run by Dask, and need the extra cluster (docs/cluster.md).

More seeds for a row: fit ... --seeds 8; one seed has no interval.""",
    "search": """\
Trains models of a space that fit a budget; what does not fit is rejected by
its price, before training. Networks are trained with rounding, and scored as
they are priced. Models are chosen by validation; those on the front are then
trained again with other seeds, and only these are scored on the test set.

  python -m mcubench search --model DSCNN --data MNIST --budget.flash 4KiB
  python -m mcubench search --model DSCNN CNN DecisionTree --trials 100
  python -m mcubench search --model MLP --objectives accuracy flash macs
  python -m mcubench search --model my_file.MyNet --space space.yaml

The same command goes on after Ctrl-C, and joins from another terminal, or
another machine that shares the folder. Options of fit that begin with
--model., --data. or --trainer. are the same for all models.""",
}


_FILES = {
    "profile": """\
FILE is a .tflite, .onnx, .keras, .h5 or .pt2: costs at the widths that stand
in it.

  python -m mcubench profile net.tflite --device stm32f446
  python -m mcubench profile net.onnx --weight_bits 8 --activation_bits 8
  python -m mcubench profile net.tflite --counts st gapflow""",
    "quantize": """\
FILE is a .tflite in int8: its bytes here and in TFLite Micro, on random
samples or those of a file. A float file is quantised first.

  python -m mcubench quantize net.tflite --samples 1000
  python -m mcubench quantize net.onnx --calibration x_train.npy --inputs x.npy""",
    "export": """\
FILE is a .tflite in int8, written in C. A float file is quantised first.

  python -m mcubench export net.tflite --format c
  python -m mcubench export net.onnx --calibration x_train.npy --format tflite
  python -m mcubench export net.tflite --format tflm --output net/""",
    "parity": """\
Do two files compute the same, or a file and the model of a run? Layer by
layer, where layers follow each other alike, else at the outputs.

  python -m mcubench parity net.onnx --against net.tflite
  python -m mcubench parity net.keras --against best

Exit code 0 if both agree, 1 if they do not, 2 if the question was wrong.""",
    "emulate": """\
FILE is a .tflite in int8: its C, compiled and run on an emulated core. A float
file is quantised first.

  python -m mcubench emulate net.tflite --device stm32f446""",
}


def describe_file(verb: str) -> str:
    """What the help of a verb about a file begins with."""
    return _FILES[verb]


def describe(verb: str) -> str:
    """What ``VERB --help`` begins with, wrapped for a terminal of 80 columns."""
    text = _TEXTS.get(verb, _TRAINED).format(
        models=", ".join(MODELS), baselines=", ".join(BASELINES), data=", ".join(DATA)
    )
    return f"{VERBS[verb]}\n\n{chr(10).join(map(_wrapped, text.splitlines()))}"


def _wrapped(line: str) -> str:
    """A line of the texts; what does not fit goes on below, further in. Commands to copy stay whole."""
    if len(line) <= _WIDTH or line.startswith("  python"):
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line, _WIDTH, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)
