"""What might escape the rounding of QuantizationAwareTraining: it is rounded as it should be, or named."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateFinder, ModelPruning
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from mcubench.baselines import DecisionTree
from mcubench.callbacks import QuantizationAwareTraining
from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import MLP
from mcubench.quant import quantize
from mcubench.quant.integer import predict
from mcubench.quant.training import trained_ranges
from tests.callbacks.test_quantization import fit, net, trainer
from tests.foreign import MyData, MyNet

X = torch.linspace(-2, 2, 4000).reshape(1000, 4)


def levels(module: nn.Module) -> int:
    """How many values an output takes on a thousand samples: of 8 bits there are 256, of a float about as many."""
    was = module.training
    module.eval()
    with torch.no_grad():
        found = len(module(X)[:, 0].unique())
    module.train(was)
    return found


# --- copies ---


class Copying(pl.Callback):
    """Keeps an average of the weights in a copy, and looks at both after each validation."""

    part: str | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.copy = copy.deepcopy(pl_module if self.part is None else getattr(pl_module, self.part)).eval()
        self.seen: list[tuple[int, int]] = []

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        source = pl_module if self.part is None else getattr(pl_module, self.part)
        for mine, theirs in zip(self.copy.parameters(), source.parameters(), strict=True):
            mine.lerp_(theirs, 0.2)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.seen.append((levels(pl_module), levels(self.copy)))


class CopyingPart(Copying):
    part = "net"


class TestCopies:
    @pytest.mark.parametrize("first", [True, False])
    def test_an_average_in_a_copy_is_rounded_and_said_once(self, first: bool, tmp_path: Path) -> None:
        qat, copying = QuantizationAwareTraining(), Copying()
        with pytest.warns(UserWarning, match="a copy of MyNet is rounded as MyNet is") as said:
            trainer(tmp_path, *((qat, copying) if first else (copying, qat))).fit(net(), MyData())
        assert len(copying.seen) == 2
        assert max(max(pair) for pair in copying.seen) <= 256
        assert sum("copy" in str(each.message) for each in said) == 1
        assert levels(copying.copy) > 256, "after the fit it is a module like any other"

    def test_the_copy_is_rounded_as_the_module_would_be_with_its_weights(self, tmp_path: Path) -> None:
        class Look(pl.Callback):
            def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                twin = copy.deepcopy(pl_module).eval()
                self.same = torch.equal(twin(X), pl_module(X))

        look, qat = Look(), QuantizationAwareTraining(weight_bits=4)
        trainer(tmp_path, qat, look, num_sanity_val_steps=0).fit(net(), MyData())
        assert look.same
        assert qat.state_dict()["batches"] == 20, "copies teach no ranges"

    def test_in_float_epochs_it_is_float(self, tmp_path: Path) -> None:
        copying = Copying()
        trainer(tmp_path, QuantizationAwareTraining(start_epoch=1), copying).fit(net(), MyData())
        assert copying.seen[0][0] > 256
        assert copying.seen[0][1] > 256
        assert max(copying.seen[1]) <= 256

    def test_a_copy_from_before_the_fit_stays_float(self, tmp_path: Path) -> None:
        model = net()
        teacher, seen = copy.deepcopy(model), []

        class Teaching(pl.Callback):
            def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                seen.append(levels(teacher))

        trainer(tmp_path, QuantizationAwareTraining(), Teaching()).fit(model, MyData())
        assert min(seen) > 256

    def test_a_copy_of_a_part_is_said_to_be_float(self, tmp_path: Path) -> None:
        copying = CopyingPart()
        with pytest.warns(UserWarning, match="a copy of a part of MyNet computes in float"):
            trainer(tmp_path, QuantizationAwareTraining(), copying).fit(net(), MyData())
        assert copying.seen[-1][0] <= 256
        assert copying.seen[-1][1] > 256

    def test_a_copy_that_is_trained_in_its_turn(self, tmp_path: Path) -> None:
        """Its old hooks do nothing, and it is rounded once."""
        copying, qat = Copying(), QuantizationAwareTraining()
        trainer(tmp_path, qat, copying).fit(net(), MyData())
        again = copying.copy.train()
        trainer(tmp_path, qat).fit(again, MyData())
        assert qat.state_dict()["batches"] == 20
        assert levels(again) > 256
        with qat.quantized(again):  # type: ignore[arg-type]
            assert levels(again) <= 256

    def test_averages_that_lightning_validates_are_rounded(self, tmp_path: Path) -> None:
        class Look(pl.Callback):
            def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
                self.found = levels(pl_module)

        look = Look()
        trainer(tmp_path, EMAWeightAveraging(decay=0.9), QuantizationAwareTraining(), look).fit(net(), MyData())
        assert look.found <= 256


# --- what else is in the module ---


class Teacher(MyNet):
    """Distils a frozen network, which is a child of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        logits = self(batch[0])
        return nn.functional.mse_loss(logits, self.teacher(batch[0]))


class TeacherWithoutGradients(Teacher):
    """Its parameters are not frozen, but nothing is computed of them that has gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher.requires_grad_(True)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with torch.no_grad():
            target = self.teacher(batch[0])
        return nn.functional.mse_loss(self(batch[0]), target)


class TeacherInValidation(Teacher):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("distance", nn.functional.mse_loss(self(batch[0]), self.teacher(batch[0])))


class AverageInModule(Teacher):
    """The frozen child is what is validated."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return MyNet.training_step(self, batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("loss", nn.functional.cross_entropy(self.teacher(batch[0]), batch[1]))


class FrozenBackbone(MyNet):
    """A frozen layer of forward itself, computed outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.net[0].requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) + self.net[0](batch[0]).sum()


class Trained(Teacher):
    """The child is trained along: it is no teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher.requires_grad_(True)


class ComputedWeight(MyNet):
    """Calls a layer whose weight is computed, and which has no bias, outside of forward."""

    def __init__(self) -> None:
        super().__init__()
        self.net[0] = parametrizations.weight_norm(nn.Linear(4, 8, bias=False))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.net[0](batch[0])


class ProductOfWeights(MyNet):
    """A penalty on the product of a weight with itself is no layer."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        weight = self.net[0].weight
        penalty = (weight.T @ weight - torch.eye(4)).square().sum()
        return super().training_step(batch, batch_idx) + 1e-3 * penalty


class TestInTheModule:
    @pytest.mark.parametrize("teacher", [Teacher, TeacherWithoutGradients])
    def test_a_frozen_teacher_stays_float(self, teacher: type[MyNet], tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*teacher.*")
            model, running = fit(tmp_path, QuantizationAwareTraining(), net(teacher))
        assert running.global_step == 20
        assert levels(model.teacher) > 256

    def test_a_teacher_in_validation_is_said_to_be_float(self, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match=r"is evaluated with teacher\.0\.weight too.*that is float") as said:
            fit(tmp_path, QuantizationAwareTraining(), net(TeacherInValidation))
        assert sum("teacher" in str(each.message) for each in said) == 1

    @pytest.mark.parametrize(
        ("model", "name"),
        [
            (AverageInModule, r"teacher\.0\.weight"),
            (FrozenBackbone, r"net\.0\.weight"),
            (Trained, r"teacher\.0\.weight"),
            (ComputedWeight, r"net\.0\.parametrizations\.weight\.original\d"),
        ],
    )
    def test_float_layers_in_the_place_of_forward_are_refused(
        self, model: type[MyNet], name: str, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match=f"computes with {name} outside of its forward"):
            fit(tmp_path, QuantizationAwareTraining(), net(model))

    def test_a_product_of_weights_is_no_layer(self, tmp_path: Path) -> None:
        _, running = fit(tmp_path, QuantizationAwareTraining(), net(ProductOfWeights))
        assert running.global_step == 20


# --- what computes otherwise in training ---


class Recomputing(MyNet):
    reentrant: bool | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.net[0](x)
        if self.reentrant is None or not self.training:
            return self.net[1:](x)  # type: ignore[no-any-return]
        return checkpoint(self.net[1:], x, use_reentrant=self.reentrant)  # type: ignore[no-any-return]


class Reentrant(Recomputing):
    reentrant = True


class NotReentrant(Recomputing):
    reentrant = False


class AlwaysCheckpointed(MyNet):
    """In evaluation and in the trace, too."""

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.net, x, use_reentrant=False)  # type: ignore[no-any-return]


class OwnRecomputation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: nn.Module, x: Tensor) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        with torch.no_grad():
            return layer(x)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None]:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            ctx.layer(x).backward(gradients[0])
        return None, x.grad


class OwnCheckpoint(MyNet):
    part = slice(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.net[0](x)
        if not self.training:
            return self.net[1:](x)  # type: ignore[no-any-return]
        return self.net[self.part.stop :](OwnRecomputation.apply(self.net[self.part], x))  # type: ignore[no-any-return]


class OwnCheckpointOfNoWeights(OwnCheckpoint):
    part = slice(1, 3)


class Swish(torch.autograd.Function):
    """A gradient that is written down computes with functions of the device, and recomputes nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return gradients[0] * s * (1 + x * (1 - s))


class OwnGradient(MyNet):
    def forward(self, x: Tensor) -> Tensor:
        x = self.net[0](x)
        return self.net[3](Swish.apply(x) if self.training else x * torch.sigmoid(x))  # type: ignore[no-any-return]


class SkipsAtRandom(MyNet):
    """Stochastic depth that leaves a layer out."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or torch.rand(()) < 0.5:
            x = x + self.more(x)
        return self.net(x)  # type: ignore[no-any-return]


class DropsPath(MyNet):
    """Stochastic depth that multiplies what a layer makes by 0 or 1 / p, in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.more(x)
        if self.training:
            y = y * torch.bernoulli(torch.full((len(y), 1), 0.5)) / 0.5
        return self.net(x + y)  # type: ignore[no-any-return]


class Twice(MyNet):
    """A call more while it trains, of a kind that the device has too."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + x if self.training else x
        return self.net(y + x)  # type: ignore[no-any-return]


class Noisy(MyNet):
    """Noise while it trains, which the device knows nothing of."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + 0.1 * torch.randn_like(x) if self.training else x
        return self.net(y + x)  # type: ignore[no-any-return]


class TestInTraining:
    @pytest.mark.parametrize("model", [Reentrant, NotReentrant])
    def test_checkpoints_train_as_without(self, model: type[MyNet], tmp_path: Path) -> None:
        results = []
        for each in (Recomputing, model):
            qat = QuantizationAwareTraining(weight_bits=4, start_epoch=1)
            trained, _ = fit(tmp_path, qat, net(each), max_epochs=3)
            results.append((torch.cat([p.detach().flatten() for p in trained.parameters()]), qat.state_dict()))
        assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
        assert results[0][1]["batches"] == results[1][1]["batches"] == 20

    def test_checkpoints_that_are_traced_too(self, tmp_path: Path) -> None:
        _, running = fit(tmp_path, QuantizationAwareTraining(), net(AlwaysCheckpointed))
        assert running.global_step == 20

    @pytest.mark.parametrize(
        ("model", "what"),
        [(OwnCheckpoint, r"relu again|with net\.3\.weight"), (OwnCheckpointOfNoWeights, "relu again")],
    )
    def test_recomputation_that_is_not_known_is_named(self, model: type[MyNet], what: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=f"computes ({what}) while gradients are computed"):
            fit(tmp_path, QuantizationAwareTraining(start_epoch=1), net(model))

    def test_a_gradient_of_ones_own_is_no_recomputation(self, tmp_path: Path) -> None:
        _, running = fit(tmp_path, QuantizationAwareTraining(), net(OwnGradient))
        assert running.global_step == 20

    @pytest.mark.parametrize(
        ("model", "pattern"),
        [
            (SkipsAtRandom, "is called with net.0.weight|forward called (linear|add)"),
            (Twice, "forward called add 2 times, and 1 times when it was traced"),
        ],
    )
    def test_other_calls_than_in_the_trace_are_refused(self, model: type[MyNet], pattern: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=pattern):
            fit(tmp_path, QuantizationAwareTraining(), net(model))

    def test_noise_trains_and_is_none_of_what_is_rounded(self, tmp_path: Path) -> None:
        qat = QuantizationAwareTraining()
        model, running = fit(tmp_path, qat, net(Noisy))
        assert running.global_step == 20
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        model.eval()
        graph, ranges, widths = trained_ranges(model, x[:1], qat.state_dict())
        integer = quantize(graph, ranges, widths=widths)
        (ours,) = integer.decode(*predict(integer, *integer.encode(x)))
        with qat.quantized(model):
            trained = model(x)
        assert (ours.reshape(trained.shape) - trained).abs().max() <= 2.01 * integer.outputs[0].grid.scale

    def test_a_path_that_is_dropped_by_multiplying_trains(self, tmp_path: Path) -> None:
        _, running = fit(tmp_path, QuantizationAwareTraining(), net(DropsPath))
        assert running.global_step == 20

    @pytest.mark.parametrize("first", [True, False])
    def test_pruning_goes_on_under_it(self, first: bool, tmp_path: Path) -> None:
        pruning = ModelPruning("l1_unstructured", amount=0.5, use_lottery_ticket_hypothesis=False)
        qat = QuantizationAwareTraining(weight_bits=4)
        model = net(Gated)
        trainer(tmp_path, *((qat, pruning) if first else (pruning, qat)), max_epochs=3).fit(model, MyData())
        assert qat.state_dict()["batches"] == 30
        weights = torch.cat([each.detach().flatten() for each in model.parameters()])
        assert 0.5 < float((weights == 0).float().mean()) < 1
        with qat.quantized(model):
            assert levels(model) <= 256

    def test_a_search_while_it_rounds_teaches_no_ranges(self, tmp_path: Path) -> None:
        """The finder trains, with rates up to 10, and restores a checkpoint of its own."""

        class Later(LearningRateFinder):
            def on_fit_start(self, *args: Any) -> None:
                """Nothing."""

            def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                if trainer.current_epoch == 0:
                    self.lr_find(trainer, pl_module)
                    assert self.optimal_lr is not None
                    found.update(qat.state_dict(), steps=len(self.optimal_lr.results["lr"]))

        found: dict[str, Any] = {}
        qat = QuantizationAwareTraining()
        pl.seed_everything(0, verbose=False)
        search = Later(num_training_steps=20, max_lr=10.0, early_stop_threshold=None)
        running = trainer(tmp_path, qat, search, limit_train_batches=8)
        running.fit(MLP((1, 8, 8), 10, schedule="constant"), Digits(size=8))
        assert found["steps"] > 10
        assert found["batches"] == 0
        assert found["ranges"] == {}
        assert qat.state_dict()["batches"] == 16


class Gated(MyNet):
    """A product of two values, beside which a mask's product must not be counted."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * self.gate(x).sigmoid())  # type: ignore[no-any-return]


def test_a_classical_model_is_refused_by_name(tmp_path: Path) -> None:
    """Before it is fitted, which may take hours."""
    tree = DecisionTree(input_shape=(1, 8, 8), num_classes=10)
    with pytest.raises(UserError, match=r"is for networks; DecisionTree is a classical model, .* --model\.bits"):
        trainer(tmp_path, QuantizationAwareTraining()).fit(tree, Digits(size=8))
    assert not tree.is_fitted
