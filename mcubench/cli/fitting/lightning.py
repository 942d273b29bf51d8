"""LightningCLI, one verb at a time: classes by name, shapes from the data, run folders, exact resume."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from mcubench.callbacks import EpochTimer, LastCheckpoint, MACs, RandomState, SizeBudget, Threads
from mcubench.cli.fitting.conclusion import FinishedFit, conclude_fit, predictions_of, write_predictions
from mcubench.cli.fitting.devices import check_devices
from mcubench.cli.fitting.fit_options import add_fit_options, check_seed
from mcubench.cli.fitting.measured import measure
from mcubench.cli.fitting.run_callbacks import ProgressBar, SaveRunConfig, TrainedWith
from mcubench.cli.fitting.searched import leave_out_searches
from mcubench.cli.fitting.teacher import find_teacher, in_full, teacher_note, with_teacher
from mcubench.cli.help import describe
from mcubench.cli.options.carried import without_other_classes
from mcubench.cli.options.configurations import read_run_configuration
from mcubench.cli.options.factories import give_factories_to_hparams
from mcubench.cli.options.going_on import check_options, noted_options
from mcubench.cli.options.names import expand_names, with_defaults
from mcubench.cli.options.parsing import HelpFormatter, link_data_to_model, mistake, plain_init_errors
from mcubench.cli.options.resume import DEFAULT_ROOT, does_not_fit, with_run_options
from mcubench.cli.options.wording import in_our_words
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.graph.failing import layer_problem
from mcubench.host_errors import check_writable, host_error
from mcubench.models.agreement import check_agreement
from mcubench.models.scored import ScoredModule
from mcubench.results.best_checkpoint import BestCheckpoint
from mcubench.results.checkpoint_io import AtomicCheckpointIO, load_state
from mcubench.results.lock import alone_in
from mcubench.results.logged import Logged
from mcubench.results.metrics_log import MetricsLog
from mcubench.results.run_folder import claim_run, config_of, run_of, shown
from mcubench.stopping import Terminated
from mcubench.training.progress import steps_in
from mcubench.training.ranges import out_of_range

__all__ = ["BenchCLI", "run_verb"]

_TRAINER_DEFAULTS = {
    "max_epochs": 10,
    "default_root_dir": DEFAULT_ROOT,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
}


def run_verb(
    verb: str, args: Sequence[str], folder: Path | None = None, make: Callable[..., BenchCLI] | None = None
) -> None:
    """Runs one verb with its options.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        args: Its options, as the user gave them.
        folder: Where one of several fits writes; not given, a new folder under ``--trainer.default_root_dir``.
        make: Makes another `BenchCLI` than the plain one.

    Raises:
        UserError: For every mistake in the options, the data or the configuration.
        KeyboardInterrupt: After Ctrl-C, when everything is saved.
        Terminated: After SIGTERM, likewise.
    """
    # The table says what Lightning's notices say; its warnings about loaders with workers do not concern us.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=PossibleUserWarning)
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message=r"`ModelCheckpoint\(monitor=.* could not find")  # a note of ours says it
    warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")  # a measuring verb needs none
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    named, checkpoint = with_run_options(verb, expand_names(without_other_classes(in_full(args))))
    if checkpoint is not None and folder is not None and checkpoint.parents[1] != folder.resolve():
        raise UserError("one of several fits starts anew: leave ckpt_path out")
    complete = with_defaults(named)
    try:
        (make or BenchCLI)(verb, complete, checkpoint, command=[verb, *args], folder=folder)
    except UserError:
        raise
    except MisconfigurationException as error:
        raise UserError(str(error)) from error
    except (ValueError, TypeError, RuntimeError, ModuleNotFoundError, OSError, MemoryError) as error:
        if (told := host_error(error)) is not None:
            raise told from error
        if "loading state_dict" in str(error) and checkpoint is not None:
            raise does_not_fit(checkpoint, error) from error
        if _raised_by_lightning(error):  # it checks options while it runs, and says what is wrong with them
            raise UserError(str(error)) from error
        if (problem := layer_problem(error)) is not None:
            raise UserError(problem) from error
        raise


class BenchCLI(LightningCLI):
    """One verb, from the words of the command line to the run's result.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        args: Its options, with classes by full path.
        checkpoint: The checkpoint that ``--ckpt_path`` means, if it is given.
        command: What the user typed after the program's name, for the result.
        folder: Where a new fit writes, if that is settled.
    """

    def __init__(
        self, verb: str, args: Sequence[str], checkpoint: Path | None, command: Sequence[str], folder: Path | None
    ) -> None:
        self.started = time.perf_counter()
        self.verb = verb
        self.args = list(args)
        self.checkpoint = checkpoint
        self.command = list(command)
        self.console = Console()
        self.timer = EpochTimer()
        self.costs = MACs()
        self.threads = Threads()
        self.trained_with = TrainedWith({})
        self.last: LastCheckpoint | None = None
        self.best: BestCheckpoint | None = None
        self.resumed_at: int | None = None
        self.given_folder = folder
        self.folder = Path()
        self.alone = contextlib.ExitStack()
        try:
            super().__init__(
                args=self.args,
                save_config_callback=SaveRunConfig if verb == "fit" else None,
                trainer_defaults=_TRAINER_DEFAULTS,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs={
                    "prog": "python -m mcubench",
                    "formatter_class": HelpFormatter,
                    "exit_on_error": False,
                    verb: {
                        "description": describe(verb),
                        "exit_on_error": False,
                        "usage": f"python -m mcubench {verb} [options]",
                    },
                },
            )
        finally:
            self.alone.close()
            if self.folder != Path():
                with contextlib.suppress(OSError):  # the run's folder is kept if anything was written there
                    self.folder.rmdir()

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the verb that is run: parsers of the others would be built for nothing."""
        return {self.verb: {*super().subcommands()[self.verb], "weights_only"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the links from data to model, and the options of ``fit``."""
        link_data_to_model(parser, self.args)
        if self.verb == "fit":
            add_fit_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and says in one line what is wrong."""
        in_our_words(self._subcommand_parsers[self.verb])
        try:
            self.config = parser.parse_args([self.verb, *args])
        except argparse.ArgumentError as error:
            options = self._subcommand_parsers[self.verb]._option_string_actions
            raise mistake(error, options, self.command[1:], self.checkpoint) from error
        if problem := out_of_range(self.config[self.verb].trainer):
            raise UserError(f"--trainer.{problem}")
        check_seed(self.config[self.verb].seed_everything)

    def _parse_ckpt_path(self) -> None:
        """Does nothing: the options of the checkpoint's run are in the arguments already."""

    def before_instantiate_classes(self) -> None:
        """Sees that a run that goes on is asked for nothing that it can't do any more."""
        if self.verb != "fit":
            return
        given = self.config[self.verb]
        find_teacher(given.distill, Path(given.trainer.default_root_dir))
        text = self._parser(self.verb).dump(self.config[self.verb], skip_unset=False)
        config = yaml.safe_load(text)
        self.trained_with = TrainedWith(noted_options(config))
        before = None if self.checkpoint is None else config_of(self.checkpoint)
        if before is not None:
            check_options(read_run_configuration(before, shown(before)), config, shown(before.parent))

    def instantiate_classes(self) -> None:
        """Makes data, model and trainer."""
        with plain_init_errors():
            super().instantiate_classes()
        if isinstance(self.model, ScoredModule):
            check_agreement(self.model, self.datamodule)
        give_factories_to_hparams(self.model)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds what makes a run folder and exact resume, for ``fit``."""
        config = self.config_init[self.verb]
        bar = config.trainer.get("enable_progress_bar") is not False
        callbacks: list[Callback] = [ProgressBar(refresh_rate=20)] if bar else []
        kwargs["plugins"] = [*_as_list(config.trainer.plugins), AtomicCheckpointIO()]
        if self.verb == "fit":
            metrics = self._metrics_log(config.trainer)
            self.folder = Path(metrics.log_dir)
            self.save_config_kwargs = {"folder": self.folder}
            metrics.beside = _as_list(config.trainer.logger)
            kwargs["logger"] = [metrics, *metrics.beside]
            given = {type(callback): callback for callback in _as_list(config.trainer.callbacks)}
            self.threads = Threads(config.threads, lambda text: self.console.print(text, highlight=False))
            kept = [self.timer, RandomState(), Logged(metrics), self.trained_with]
            ours = [*with_teacher(config.distill, self.datamodule), *kept, self.threads, *self._costs(config.budget)]
            callbacks += [callback for callback in ours if type(callback) not in given]
            self.timer, self.costs = given.get(EpochTimer, self.timer), given.get(MACs, self.costs)
            self.threads = given.get(Threads, self.threads)
            if config.trainer.enable_checkpointing is not False:
                callbacks += self._checkpoints(config.checkpoint)
        else:
            kwargs["logger"] = DummyLogger()  # a module may ask for self.logger.experiment
            kwargs["enable_checkpointing"] = False
        self.trainer_defaults = {**self.trainer_defaults, "callbacks": callbacks}
        trainer: pl.Trainer = super().instantiate_trainer(**kwargs)
        if self.checkpoint is not None:  # its options were found when the run began
            for each in leave_out_searches(trainer):
                self.console.print(f"{each} is left out: the run that goes on has what it found", highlight=False)
        check_devices(trainer, self.model, several=self.given_folder is not None)
        return trainer

    def _metrics_log(self, trainer: Namespace) -> MetricsLog:
        """The log of a new run, or of the run that goes on; a checkpoint from elsewhere starts a new one."""
        first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
        if self.checkpoint is not None:
            run = run_of(self.checkpoint) if config_of(self.checkpoint) is not None else None
            if run is not None and first:
                if self.given_folder is None:  # all of several may be at work
                    self.alone.enter_context(alone_in(run.parent, shared=True))
                self._keep_alone(run)
            state = load_state(self.checkpoint)
            self.resumed_at = steps_in(state)
            if run is not None:
                check_writable(run / "metrics.csv")
                check_writable(self.checkpoint.with_name("last.ckpt"))
                metrics = MetricsLog(run.parent, run.name)
                metrics.resume_at(self.resumed_at, state.get("callbacks", {}).get(Logged.__name__, {}).get("before"))
                return metrics
        if self.given_folder is not None:
            self.given_folder.mkdir(parents=True, exist_ok=True)
            self._keep_alone(self.given_folder)
            return MetricsLog(self.given_folder.parent, self.given_folder.name)
        root, title = Path(trainer.default_root_dir), "-".join(self._names())
        # Other processes get the first one's name by broadcast, where it matters.
        folder = root / title
        if first and not trainer.fast_dev_run:
            folder = claim_run(root, title)
            self._keep_alone(folder)
        return MetricsLog(folder.parent, folder.name)

    def _keep_alone(self, folder: Path) -> None:
        """Keeps other processes out of the run's folder until the verb is done."""
        self.alone.enter_context(alone_in(folder))

    def _costs(self, budget: SizeBudget) -> list[Callback]:
        """The table of costs, at the widths of the budget; and the budget, if there is one."""
        widths = budget.widths
        self.costs = MACs(widths.weight, widths.activation, dict(widths.per_layer))
        return [self.costs, budget] if any(budget.limits.values()) else [self.costs]

    def _checkpoints(self, options: Any) -> list[Callback]:
        monitor = options.monitor or ("val/accuracy" if isinstance(self.model, ScoredModule) else None)
        self.last = LastCheckpoint(options.every_n_train_steps)
        if monitor is None:
            return [self.last]
        self.best = BestCheckpoint(self.folder / "checkpoints", monitor, options.mode)
        return [self.best, self.last]

    def _data(self) -> object:
        return self.model if self.datamodule is None else self.datamodule

    def _names(self) -> tuple[str, str]:
        return type(self.model).__name__, type(self._data()).__name__

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs the verb; Ctrl-C, which Lightning turns into an exit, and SIGTERM say what was saved."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit as stop:
            terminated = isinstance(stop, (Terminated, SIGTERMException))
            if not terminated and not self.trainer.interrupted:
                raise
            if isinstance(launcher := self.trainer.strategy.launcher, _SubprocessScriptLauncher):
                launcher.kill(signal.SIGKILL)  # the others would wait for this one
            if self.trainer.is_global_zero and self.last is not None and self.last.path is not None:
                say(self.console, f"Stopped; {self._saved(self.last.path)}")
            raise (Terminated() if terminated else KeyboardInterrupt()) from None

    def _saved(self, path: Path) -> str:
        """Says what a signal has left, and how to go on."""
        return f"saved {shown(path)}. Go on with: python -m mcubench fit --ckpt_path {shown(self.folder)}"

    def fit(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Trains, after a line that says what and where."""
        what = "goes on" if self.checkpoint else "starts"
        if self.trainer.is_global_zero:
            seed, device = self.config[self.verb].seed_everything, self.trainer.strategy.root_device
            title = " on ".join(self._names())
            say(self.console, f"{title} {what}: seed {seed}, {device}, {shown(self.folder)}")
        self.trainer.fit(model, weights_only=True, **kwargs)

    def after_fit(self) -> None:
        """Scores the model and writes the run's result."""
        if self.trainer.is_global_zero and not getattr(self.trainer, "fast_dev_run", False):
            conclude_fit(self.finished(), self.console)

    def finished(self) -> FinishedFit:
        """What is concluded."""
        return FinishedFit(
            trainer=self.trainer,
            model=self.model,
            datamodule=self.datamodule,
            config=self.config_dump,
            folder=self.folder,
            best=self.best,
            timer=self.timer,
            costs=self.costs,
            threads=self.threads,
            budget=self.config_init[self.verb].budget.problem,
            resumed_at=self.resumed_at,
            command=self.command,
            started=self.started,
            notes=(*teacher_note(self.config_init[self.verb].distill), *self.trained_with.notes),
        )

    def predict(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Predicts the test set and writes predictions.csv beside the checkpoint's run."""
        if self.trainer.world_size > 1:
            raise UserError("predict writes one file in order: use --trainer.devices 1")
        if not isinstance(model, ScoredModule) and type(model).predict_step is pl.LightningModule.predict_step:
            raise UserError(
                f"predict needs {type(model).__name__}.predict_step, which says what is predicted of a batch"
            )
        assert self.checkpoint is not None
        path = predictions_of(self.checkpoint)
        check_writable(path)
        outputs = self.trainer.predict(model, weights_only=True, **{**kwargs, "return_predictions": True})
        write_predictions(outputs, self._data(), path)
        say(self.console, f"wrote {shown(path)}")

    def _say_which(self) -> None:
        if self.trainer.is_global_zero and self.checkpoint is not None:
            title = " on ".join(self._names())
            say(self.console, f"{title}: {shown(self.checkpoint)}")

    def validate(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Measures the validation part."""
        self._say_which()
        measure(self.trainer, model, "val", self.console, **kwargs)

    def test(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Measures the test set."""
        self._say_which()
        measure(self.trainer, model, "test", self.console, **kwargs)


def _as_list(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _raised_by_lightning(error: BaseException) -> bool:
    """Whether the innermost frame of an error's traceback is Lightning's: its own check, not a failing computation."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("lightning.")
