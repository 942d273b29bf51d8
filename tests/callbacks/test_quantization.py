"""QuantizationAwareTraining under a Trainer; what a rounded forward computes is held in tests/quant/training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mcubench.callbacks import MACs, QuantizationAwareTraining, RandomState, SizeBudget
from mcubench.cost import BitWidths
from mcubench.datamodules import Digits
from mcubench.errors import BudgetExceededError, UserError
from mcubench.models import DSCNN
from mcubench.quant import interpret_fake, quantize
from mcubench.quant.integer import predict
from mcubench.quant.training import find_qat_state, trained_ranges
from tests.foreign import MyData, MyNet, loader

EXAMPLE = torch.zeros(1, 4)
ATTRIBUTES = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called")


def trainer(root: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return pl.Trainer(
        **{"max_epochs": 2, "accelerator": "cpu", "default_root_dir": root, "callbacks": [*callbacks]} | quiet | options
    )


def net(make: Callable[[], pl.LightningModule] = MyNet) -> Any:
    pl.seed_everything(0, verbose=False)
    return make()


def dropout_net() -> DSCNN:
    """With batch norm too."""
    return DSCNN((1, 8, 8), 10, channels=4, blocks=1, dropout=0.5)


def fit(root: Path, qat: QuantizationAwareTraining, model: Any = None, **options: Any) -> tuple[Any, pl.Trainer]:
    model, running = net() if model is None else model, trainer(root, qat, **options)
    running.fit(model, MyData())
    return model, running


def equal(a: nn.Module, b: nn.Module) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


class Forwards(pl.Callback):
    """Notes the outputs of one fixed batch after each epoch, as a validation would see them."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.seen.append(pl_module(torch.linspace(-2, 2, 400).reshape(100, 4)).detach())


class TestTraining:
    def test_validation_is_that_of_the_rounded_model_and_the_module_itself_stays_float(self, tmp_path: Path) -> None:
        """Values of a grid of 255 steps are multiples of its step; those in float are not."""
        qat, forwards = QuantizationAwareTraining(), Forwards()
        model = net()
        trainer(tmp_path, qat, forwards).fit(model, MyData())
        low, high = qat.state_dict()["ranges"]["linear:1"]
        step = (high - low) / 255
        steps = forwards.seen[-1] / step
        assert (steps - steps.round()).abs().max() < 1e-2
        model.eval()
        steps = model(torch.linspace(-2, 2, 400).reshape(100, 4)) / step
        assert (steps - steps.round()).abs().max() > 0.3

    @pytest.mark.parametrize("how", ["child", "method", "in place", "whole"])
    def test_what_is_compiled_is_trained_as_it_was_written(self, how: str, tmp_path: Path) -> None:
        """Bit for bit, by whatever way torch.compile was used: calls within compiled code could not be rounded."""

        class Compiled(MyNet):
            def __init__(self) -> None:
                super().__init__()
                if how == "child":
                    self.net = torch.compile(self.net, backend="eager")
                elif how == "in place":
                    self.net.compile(backend="eager")
                self.run = torch.compile(self.net.forward, backend="eager") if how == "method" else self.layers

            def layers(self, x: Tensor) -> Tensor:
                return self.net(x)

            def forward(self, x: Tensor) -> Tensor:
                return self.run(x)

        plain, _ = fit(tmp_path, QuantizationAwareTraining(), max_epochs=1)
        qat, module = QuantizationAwareTraining(), net(Compiled)
        compiled = torch.compile(module, backend="eager") if how == "whole" else module
        trainer(tmp_path, qat, max_epochs=1).fit(compiled, MyData())
        assert qat.state_dict()["ranges"], "it was rounded"
        assert all(map(torch.equal, plain.parameters(), module.parameters()))
        assert torch.compiler.is_compiling() is False

    def test_start_epoch_trains_in_float_before(self, tmp_path: Path) -> None:
        plain = net()
        trainer(tmp_path).fit(plain, MyData())
        qat = QuantizationAwareTraining(start_epoch=2)
        late, _ = fit(tmp_path, qat)
        assert equal(plain, late)
        assert qat.state_dict()["ranges"] == {}
        soon, _ = fit(tmp_path, QuantizationAwareTraining(start_epoch=1))
        assert not equal(plain, soon)

    def test_the_best_checkpoint_is_one_that_was_rounded(self, tmp_path: Path) -> None:
        """The metric is best in the first epoch, which is float; of the rounded ones it is best in the third."""

        class Worse(MyNet):
            def validation_step(self, batch: Any, batch_idx: int) -> None:
                self.log("score", -float(self.current_epoch))

        best = ModelCheckpoint(tmp_path, filename="{epoch}", monitor="score", mode="max")
        qat = QuantizationAwareTraining(start_epoch=2)
        model = net(Worse)
        trainer(tmp_path, qat, best, max_epochs=4, enable_checkpointing=True).fit(model, MyData())
        assert Path(best.best_model_path).name == "epoch=2.ckpt"
        assert find_qat_state(torch.load(best.best_model_path, weights_only=True)) is not None
        float_best = ModelCheckpoint(tmp_path / "float", filename="{epoch}", monitor="score", mode="max")
        trainer(tmp_path, float_best, max_epochs=4, enable_checkpointing=True).fit(net(Worse), MyData())
        assert Path(float_best.best_model_path).name == "epoch=0.ckpt"

    def test_a_function_without_a_kernel_of_its_own_is_trained_and_has_a_form(self, tmp_path: Path) -> None:
        class Smooth(MyNet):
            def forward(self, x: Tensor) -> Tensor:
                return nn.functional.gelu(super().forward(x))

        qat = QuantizationAwareTraining()
        trainer = fit(tmp_path, qat, net(Smooth), max_epochs=1)
        assert "gelu:0" in qat.state_dict()["ranges"], trainer

    def test_narrow_activations_have_no_kernel_either(self, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match=r"can't become a .tflite: TFLite Micro has no activations of 4 bits"):
            fit(tmp_path, QuantizationAwareTraining(activation_bits=4), max_epochs=1)

    def test_widths_that_were_set_while_training_are_those_of_the_resumed_run(self, tmp_path: Path) -> None:
        class Narrower(pl.Callback):
            def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                if trainer.current_epoch == 1:
                    qat.widths = BitWidths(4)

        qat = QuantizationAwareTraining()
        first = trainer(tmp_path, qat, Narrower())
        first.fit(net(), MyData())
        first.save_checkpoint(tmp_path / "x.ckpt")
        resumed = QuantizationAwareTraining()
        trainer(tmp_path, resumed, max_epochs=3).fit(net(), MyData(), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
        assert resumed.widths == BitWidths(4)
        assert resumed.state_dict()["weight_bits"] == 4
        other = QuantizationAwareTraining(weight_bits=2)
        with pytest.warns(UserWarning, match="trained with weights 4 bits, activations 8 bits; here it is weights 2"):
            trainer(tmp_path, other).validate(net(), MyData(), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
        assert other.widths == BitWidths(2)

    def test_scores_of_a_checkpoint_are_at_its_own_widths(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining(weight_bits=2)
        model, _ = fit(tmp_path, qat)
        state, x = qat.state_dict(), torch.linspace(-2, 2, 400).reshape(100, 4)
        model.eval()
        with qat.quantized(model):
            expected = model(x)
        qat.widths = BitWidths(8)
        with qat.quantized(model, state):
            assert torch.equal(model(x), expected)
        with qat.quantized(model):
            assert not torch.equal(model(x), expected)

    def test_frozen_ranges_stay(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining(freeze_observers_epoch=1)
        _, running = fit(tmp_path, qat)
        assert running.current_epoch == 2
        assert qat.state_dict()["batches"] == 10, "the ten of the first epoch"
        free = QuantizationAwareTraining()
        fit(tmp_path, free)
        assert free.state_dict()["batches"] == 20
        assert free.state_dict()["ranges"] != qat.state_dict()["ranges"]

    def test_every_micro_batch_is_observed(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining()
        _, running = fit(tmp_path, qat, accumulate_grad_batches=5, max_epochs=1)
        assert running.global_step == 2
        assert qat.state_dict()["batches"] == 10

    def test_accumulated_gradients_are_those_of_the_whole_batch(self, tmp_path: Path) -> None:
        """With frozen ranges and without dropout, two halves have the mean gradient of the whole."""

        class Halves(MyNet):
            size = 20

            def __init__(self) -> None:
                super().__init__()
                self.net[2] = nn.Identity()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), 0.1)

            def train_dataloader(self) -> Any:
                x, y = next(iter(loader()))
                return DataLoader(TensorDataset(x, y), batch_size=self.size)

        start = QuantizationAwareTraining()
        base = net(Halves)
        first = trainer(tmp_path, start, max_epochs=1)
        first.fit(base)
        first.save_checkpoint(tmp_path / "start.ckpt")
        results = []
        for size, batches in ((20, 1), (10, 2)):
            model = net(Halves)
            model.size = size
            qat = QuantizationAwareTraining(freeze_observers_epoch=1)
            running = trainer(tmp_path, qat, max_epochs=2, accumulate_grad_batches=batches)
            running.fit(model, ckpt_path=tmp_path / "start.ckpt", weights_only=True)
            results.append(torch.cat([each.flatten() for each in model.parameters()]))
        assert not torch.equal(results[0], torch.cat([each.flatten() for each in base.parameters()]))
        assert torch.allclose(*results, atol=1e-7)

    def test_the_module_gets_nothing(self, tmp_path: Path) -> None:
        plain = net()
        trainer(tmp_path).fit(plain, MyData())
        model, running = fit(tmp_path, QuantizationAwareTraining())
        running.validate(model, MyData(), verbose=False)
        assert model.state_dict().keys() == plain.state_dict().keys()
        assert vars(model).keys() == vars(plain).keys()
        assert len([*model.modules()]) == len([*plain.modules()])
        assert all(len(getattr(model, name)) == len(getattr(plain, name)) for name in ATTRIBUTES)
        assert torch.overrides._len_torch_function_stack() == 0

    def test_checkpoints_load_without_it(self, tmp_path: Path) -> None:
        model, running = fit(tmp_path, QuantizationAwareTraining())
        running.save_checkpoint(tmp_path / "x.ckpt")
        again = net()
        trainer(tmp_path).validate(again, MyData(), ckpt_path=tmp_path / "x.ckpt", weights_only=True, verbose=False)
        assert equal(model, again)

    def test_two_fits_are_alike(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining(start_epoch=1)
        one, _ = fit(tmp_path, qat)
        state = qat.state_dict()
        two, _ = fit(tmp_path, qat)
        assert equal(one, two)
        assert qat.state_dict() == state

    def test_the_same_trainer_goes_on(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining()
        model, running = fit(tmp_path, qat, max_epochs=1)
        running.fit_loop.max_epochs = 2
        running.fit(model, MyData())
        assert qat.state_dict()["batches"] == 20

    def test_an_observer_of_least_error(self, tmp_path: Path) -> None:
        clipped = QuantizationAwareTraining(activation_bits=4, observer="mse")
        extreme = QuantizationAwareTraining(activation_bits=4)
        fit(tmp_path, clipped)
        fit(tmp_path, extreme)
        widths = [high - low for each in (clipped, extreme) for low, high in [each.state_dict()["ranges"]["input:0"]]]
        assert widths[0] < widths[1]


class TestResume:
    @pytest.mark.parametrize("make", [MyNet, dropout_net], ids=["foreign", "dropout and batch norm"])
    @pytest.mark.parametrize("stop", [1, 2, 3])
    def test_in_mid_schedule_bit_for_bit(self, tmp_path: Path, stop: int, make: Any) -> None:
        data: Callable[[], Any] = MyData if make is MyNet else lambda: Digits(size=8)

        def schedule() -> QuantizationAwareTraining:
            return QuantizationAwareTraining(weight_bits=4, start_epoch=1, freeze_observers_epoch=3)

        def running(qat: QuantizationAwareTraining, epochs: int) -> pl.Trainer:
            return trainer(tmp_path, qat, RandomState(), max_epochs=epochs, limit_train_batches=8)

        def model() -> Any:
            return net(make)

        whole, qat = model(), schedule()
        whole.schedule = "constant"
        running(qat, 4).fit(whole, data())
        half = model()
        half.schedule = "constant"
        first = running(schedule(), stop)
        first.fit(half, data())
        first.save_checkpoint(tmp_path / "half.ckpt")
        resumed, again = model(), schedule()
        resumed.schedule = "constant"
        torch.manual_seed(99)
        running(again, 4).fit(resumed, data(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
        assert equal(resumed, whole)
        assert again.state_dict() == qat.state_dict()
        assert qat.state_dict()["batches"] == 16, "those of epochs 1 and 2"

    def test_a_float_checkpoint_starts_without_ranges(self, tmp_path: Path) -> None:
        model = net()
        plain = trainer(tmp_path, max_epochs=1)
        plain.fit(model, MyData())
        plain.save_checkpoint(tmp_path / "float.ckpt")
        qat = QuantizationAwareTraining()
        qat_trainer = trainer(tmp_path, qat, max_epochs=2)
        qat_trainer.fit(net(), MyData(), ckpt_path=tmp_path / "float.ckpt", weights_only=True)
        assert qat.state_dict()["batches"] == 10
        late = trainer(tmp_path, QuantizationAwareTraining(freeze_observers_epoch=1), max_epochs=2)
        with pytest.raises(UserError, match=r"no ranges to round in.*raise freeze_observers_epoch"):
            late.fit(net(), MyData(), ckpt_path=tmp_path / "float.ckpt", weights_only=True)


class TestEvaluation:
    def outputs(self, running: pl.Trainer, model: Any, **options: Any) -> Tensor:
        model.predict_step = lambda batch, batch_idx: model(batch[0])
        found = running.predict(model, loader(), weights_only=True, **options)
        assert found is not None
        return torch.cat(list(found))  # type: ignore[arg-type]

    def test_after_fit_and_from_a_checkpoint_alike(self, tmp_path: Path) -> None:
        model, running = fit(tmp_path, QuantizationAwareTraining())
        running.save_checkpoint(tmp_path / "x.ckpt")
        expected = self.outputs(running, model)
        other = trainer(tmp_path, QuantizationAwareTraining())
        assert torch.equal(self.outputs(other, net(), ckpt_path=tmp_path / "x.ckpt"), expected)
        plain = trainer(tmp_path)
        assert not torch.equal(self.outputs(plain, net(), ckpt_path=tmp_path / "x.ckpt"), expected)

    def test_a_checkpoint_brings_its_own_ranges(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining()
        model, running = fit(tmp_path, qat, max_epochs=1)
        running.save_checkpoint(tmp_path / "first.ckpt")
        ranges = qat.state_dict()["ranges"]
        running.fit_loop.max_epochs = 3
        running.fit(model, MyData())
        assert qat.state_dict()["ranges"] != ranges
        running.validate(model, MyData(), ckpt_path=tmp_path / "first.ckpt", weights_only=True, verbose=False)
        assert qat.state_dict()["ranges"] == ranges

    def test_a_float_checkpoint_is_evaluated_in_float(self, tmp_path: Path) -> None:
        plain = trainer(tmp_path)
        plain.fit(net(), MyData())
        plain.save_checkpoint(tmp_path / "float.ckpt")
        qat = QuantizationAwareTraining()
        _, running = fit(tmp_path, qat)
        found = self.outputs(running, net(), ckpt_path=tmp_path / "float.ckpt")
        assert torch.equal(found, self.outputs(trainer(tmp_path), net(), ckpt_path=tmp_path / "float.ckpt"))

    def test_quantized_outside_of_a_trainer(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining()
        model, running = fit(tmp_path, qat)
        expected = self.outputs(running, model)
        x = torch.cat([each for each, _ in loader()])
        model.eval()
        with qat.quantized(model):
            assert torch.equal(model(x), expected)
        assert not torch.equal(model(x), expected)
        with qat.quantized(model, {}):
            in_float = model(x)
        assert torch.equal(in_float, model(x))

    def test_export_reads_the_checkpoint(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining(weight_bits=4, per_layer={"net.3": 8})
        model, running = fit(tmp_path, qat)
        running.save_checkpoint(tmp_path / "x.ckpt")
        state = find_qat_state(torch.load(tmp_path / "x.ckpt", weights_only=True))
        assert state is not None
        graph, ranges, widths = trained_ranges(model, EXAMPLE, state)
        assert widths == BitWidths(4, 8, {"net.3": 8})
        assert ranges[graph.outputs[0]] == qat.state_dict()["ranges"]["linear:1"]


class StepsTwice(MyNet):
    """Two backward passes in a step; the second loss comes from layers that forward does not run."""

    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.manual_backward(nn.functional.cross_entropy(self(x), y))
        self.manual_backward(nn.functional.cross_entropy(self.net(x), y))


def test_a_second_loss_of_a_step_is_watched_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"computes with net\.\d\.weight outside of its forward"):
        fit(tmp_path, QuantizationAwareTraining(), net(StepsTwice))


class CallsLayers(MyNet):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])


class CallsForwardItself(MyNet):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.forward(batch[0]), batch[1])


class CallsFunctions(MyNet):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        logits = self(batch[0]) + batch[0] @ self.net[0].weight.T[:, :2]
        return nn.functional.cross_entropy(logits, batch[1])


class CallsLayersInValidation(MyNet):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.net(batch[0])


class NeverForward(MyNet):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return sum(parameter.square().sum() for parameter in self.parameters())  # type: ignore[return-value]


class Recurrent(MyNet):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.RNN(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.memory(x[:, None])[0][:, 0])


class AuxiliaryHead(MyNet):
    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.auxiliary(x) if self.training else self.net(x)


class AlwaysEvaluating(MyNet):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.eval()


class NotFinite(MyNet):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step((batch[0] / (batch_idx != 3), batch[1]), batch_idx)


class Penalised(MyNet):
    """A loss with parameters in it is none of our business."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) + 1e-3 * self.net[0].weight.square().sum()


class Encoder(MyNet):
    """Each of four numbers is a place."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.positions = nn.Linear(1, 8), nn.Parameter(torch.randn(4, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 1, 8, activation="gelu", batch_first=True)
        self.mixed = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        places = self.encoder(self.embed(x[..., None]) + self.positions)
        mixed, _ = self.mixed(places, places, places)
        return self.net(self.last(self.norm(places + mixed).mean(1)))


class TestTransformers:
    def test_it_is_trained_within_a_budget_and_quantised_in_its_ranges(self, tmp_path: Path) -> None:
        qat, model = QuantizationAwareTraining(), net(Encoder)
        trainer(tmp_path, qat, SizeBudget(flash="8 KiB", ram="2 KiB"), max_epochs=10).fit(model, MyData())
        graph, ranges, widths = trained_ranges(model.eval(), EXAMPLE, qat.state_dict())
        integer = quantize(graph, ranges, widths=widths)
        x = torch.randn(200, 4)
        wanted, (tensor,) = interpret_fake(graph, integer, x)[0], integer.outputs
        found = integer.decode(*predict(integer, *integer.encode(x)))[0]
        assert float(((found - wanted) / tensor.grid.scale).abs().median()) <= 2
        assert float((found.argmax(1) == model(x).argmax(1)).float().mean()) > 0.9


class TestErrors:
    @pytest.mark.parametrize(
        ("model", "pattern"),
        [
            (CallsLayers, r"CallsLayers computes with net\.0\.weight outside of its forward.* self\(x\)"),
            (CallsForwardItself, r"computes with net\.0\.weight outside of its forward"),
            (CallsLayersInValidation, r"computes with net\.0\.weight outside of its forward"),
            (NeverForward, r"training_step never called forward.* self\(x\)"),
            (Recurrent, "would train what has no integer form: memory: RNN"),
            (AuxiliaryHead, r"forward called linear 3 times, and 2 times when it was traced \(in net\.0, net\.3\)"),
            (AlwaysEvaluating, "learned no ranges in epoch 0.*AlwaysEvaluating must be in training mode"),
            (NotFinite, r"\(input:0\) are not finite"),
        ],
    )
    def test_what_can_not_be_rounded(self, model: type[MyNet], pattern: str, tmp_path: Path) -> None:
        broken = net(model)
        with pytest.raises(UserError, match=pattern):
            fit(tmp_path, QuantizationAwareTraining(), broken)
        assert all(not getattr(broken, name) for name in ATTRIBUTES)
        assert torch.overrides._len_torch_function_stack() == 0

    def test_it_is_said_before_the_first_step_where_the_shape_is_known(self, tmp_path: Path) -> None:
        model = net(Recurrent)
        model.example_input_array = EXAMPLE
        with pytest.raises(UserError, match="memory: RNN"):
            fit(tmp_path, QuantizationAwareTraining(start_epoch=1), model, num_sanity_val_steps=0)

    def test_a_view_of_a_parameter_outside_of_forward(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"computes with net\.0\.weight outside of its forward"):
            fit(tmp_path, QuantizationAwareTraining(), net(CallsFunctions))

    def test_a_penalty_is_none(self, tmp_path: Path) -> None:
        _, running = fit(tmp_path, QuantizationAwareTraining(), net(Penalised))
        assert running.global_step == 20

    @pytest.mark.parametrize(
        ("options", "pattern"),
        [
            ({"weight_bits": 16}, "weight_bits must be 8, 4 or 2"),
            ({"activation_bits": 16}, "activation_bits must be 8 or 4"),
            ({"per_layer": {"net.0": 1}}, "bits of 'net.0' must be 8, 4 or 2"),
            ({"start_epoch": -1}, "start_epoch must be 0 or more"),
            ({"start_epoch": 2, "freeze_observers_epoch": 2}, "freeze_observers_epoch must be after start_epoch"),
            ({"observer": "median"}, "observer must be one of moving_average, mse; got 'median'"),
        ],
    )
    def test_options(self, options: Any, pattern: str) -> None:
        with pytest.raises(UserError, match=pattern):
            QuantizationAwareTraining(**options)

    def test_a_layer_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no layer 'net\.1' with weights"):
            fit(tmp_path, QuantizationAwareTraining(per_layer={"net.1": 4}))


class Rewidth(pl.Callback):
    """Sets other widths in the middle of an epoch."""

    def __init__(self, qat: QuantizationAwareTraining, widths: BitWidths) -> None:
        self.qat, self.widths = qat, widths

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == 5:
            self.qat.widths = self.widths


class TestWithOthers:
    def test_costs_are_those_of_the_plain_module_at_the_trained_widths(self, tmp_path: Path) -> None:
        reports = []
        for callbacks in ((MACs(4),), (QuantizationAwareTraining(4), MACs()), (MACs(), QuantizationAwareTraining(4))):
            trainer(tmp_path, *callbacks).fit(net(), MyData())
            reports.append(next(each for each in callbacks if isinstance(each, MACs)).report)
        assert reports[0] is not None
        assert len({str(each) for each in reports}) == 1

    def test_a_budget_reads_its_widths_and_reads_them_again(self, tmp_path: Path) -> None:
        """8 bits need (4 * 8 + 8 * 2) + 10 * 12 = 168 B, 4 bits 144 B."""
        budget, qat = SizeBudget(flash=168), QuantizationAwareTraining(weight_bits=4)
        running = trainer(tmp_path, qat, budget, Rewidth(qat, BitWidths(8, 8, {"net.3": 2})))
        running.fit(net(), MyData())
        assert budget.report is not None
        assert budget.report.flash_bytes == 4 * 8 + 8 * 2 // 4 + 120
        assert budget.widths == qat.widths

    def test_a_budget_that_later_widths_exceed(self, tmp_path: Path) -> None:
        budget, qat = SizeBudget(flash=144), QuantizationAwareTraining(weight_bits=4)
        running = trainer(tmp_path, qat, budget, Rewidth(qat, BitWidths(8)))
        with pytest.raises(BudgetExceededError, match=r"weights 8 bits.*24 B more than"):
            running.fit(net(), MyData())
        assert running.global_step == 5

    def test_the_widths_of_later_epochs_count_from_the_beginning(self, tmp_path: Path) -> None:
        budget = SizeBudget(flash=144)
        running = trainer(tmp_path, QuantizationAwareTraining(weight_bits=4, start_epoch=1), budget)
        running.fit(net(), MyData())
        assert budget.problem is None

    def test_widths_of_a_budget_give_way_with_a_warning(self, tmp_path: Path) -> None:
        budget = SizeBudget(flash=168, weight_bits=2)
        with pytest.warns(UserWarning, match=r"priced as it is trained .*weights 8 bits.* not with weights 2 bits"):
            trainer(tmp_path, QuantizationAwareTraining(), budget).fit(net(), MyData())
        assert budget.widths == BitWidths(8)

    def test_widths_set_while_training_round_the_next_forward(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining()
        model = net()
        trainer(tmp_path, qat, Rewidth(qat, BitWidths(2)), max_epochs=1).fit(model, MyData())
        other = net()
        trainer(tmp_path, QuantizationAwareTraining(), max_epochs=1).fit(other, MyData())
        assert not equal(model, other)
        assert qat.state_dict()["weight_bits"] == 2
        with pytest.raises(UserError, match="no layer"):
            qat.widths = BitWidths(per_layer={"nowhere": 4})
