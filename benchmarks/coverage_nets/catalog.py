"""Which networks: those of packages by their names, and small ones after papers."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from benchmarks.coverage_nets import papers, spiking

__all__ = ["Subject", "subjects"]

CLASSES = 10


@dataclass(frozen=True)
class Subject:
    """A network.

    Attributes:
        package: What pip installs it with, or ``after papers``.
        name: Its name there.
        shape: Of one sample.
        make: Makes it, with random weights.
    """

    package: str
    name: str
    shape: tuple[int, ...]
    make: Callable[[], nn.Module]


# Names, and the side of the images where it is not 64.
TORCHVISION = {
    **dict.fromkeys(("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x0_5"), 64),
    **dict.fromkeys(("shufflenet_v2_x1_0", "squeezenet1_0", "squeezenet1_1", "mnasnet0_5", "efficientnet_b0"), 64),
    **dict.fromkeys(("densenet121", "resnet18", "resnet34", "resnext50_32x4d", "regnet_x_400mf", "regnet_y_400mf"), 64),
    **dict.fromkeys(("googlenet", "vgg11_bn", "alexnet"), 64),
    "convnext_tiny": 64,
    "swin_t": 64,
    "vit_b_16": 64,
}
TIMM = (
    *("mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100", "lcnet_050", "ghostnet_100", "ghostnetv2_100"),
    *("tinynet_e", "fbnetc_100", "mnasnet_small", "hardcorenas_a", "rexnet_100", "repvgg_a0", "mobileone_s0"),
    *("efficientnet_lite0", "resnet10t", "resnet14t", "resnet26d", "regnetx_002", "regnety_002", "dla46_c", "dla46x_c"),
    *("selecsls42b", "skresnet18", "cspresnet50", "cspdarknet53", "ese_vovnet19b_dw", "res2net50_14w_8s", "mixnet_s"),
    *("repghostnet_050", "semnasnet_075", "spnasnet_100", "mobilenetv1_100", "mobilenetv2_050", "fbnetv3_b"),
    *(
        "mobilenetv4_conv_small_050",
        "mobilenetv4_conv_small",
        "hgnetv2_b0",
        "fasternet_t0",
        "starnet_s1",
        "repvit_m0_9",
    ),
    *("seresnext26d_32x4d", "ecaresnet26t", "resnest14d", "gernet_s", "legacy_seresnet18", "xception41"),
    *("hrnet_w18_small", "hardcorenas_f", "test_resnet", "test_byobnet", "test_efficientnet", "dpn48b"),
    *(
        "edgenext_xx_small",
        "mobilevit_xxs",
        "levit_128s",
        "convnext_atto",
        "mobilevitv2_050",
        "test_vit",
        "test_convnext",
    ),
)


def subjects() -> Iterator[Subject]:
    """All of them."""
    for name, side in TORCHVISION.items():
        yield Subject("torchvision", name, (3, side, side), functools.partial(_torchvision, name))
    for name in TIMM:
        yield Subject("timm", name, (3, 64, 64), functools.partial(_timm, name))
    yield Subject("pytorch-tcn", "TCN", (6, 64), functools.partial(_tcn, causal=False))
    yield Subject("pytorch-tcn", "TCN, causal", (6, 64), functools.partial(_tcn, causal=True))
    for name, (shape, make) in spiking.NETS.items():
        yield Subject("snntorch", name, shape, make)
    for name, (shape, make) in papers.NETS.items():
        yield Subject("after papers", name, shape, make)


def _torchvision(name: str) -> nn.Module:
    models = importlib.import_module("torchvision.models")
    options = {"image_size": 64} if name == "vit_b_16" else {}
    if name == "googlenet":
        options = {"aux_logits": False, "init_weights": False}
    found: nn.Module = models.get_model(name, num_classes=CLASSES, **options)
    return found


def _timm(name: str) -> nn.Module:
    timm = importlib.import_module("timm")
    options = {"img_size": 64} if name in ("test_vit", "levit_128s") else {}
    found: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
    return found


def _tcn(causal: bool) -> nn.Module:
    tcn = importlib.import_module("pytorch_tcn").TCN(6, [16, 16, 16], causal=causal, use_norm="batch_norm")
    return nn.Sequential(tcn, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, CLASSES))
