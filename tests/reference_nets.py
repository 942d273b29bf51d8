"""Small nets as other people publish and write them: plain PyTorch that knows nothing of mcubench.

Shapes of their samples, and their costs counted by hand, are in tests/known_answers.py.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def normalised(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution with bias and batch norm, padded as TensorFlow's "same" pads sizes that the stride divides."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    layers: list[nn.Module] = [nn.ZeroPad2d((before, after, before, after))] if kernel > 1 else []
    return [*layers, nn.Conv2d(inputs, outputs, kernel, stride, groups=groups), nn.BatchNorm2d(outputs)]


def separable(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise and a pointwise convolution, each with batch norm and ReLU."""
    depthwise = normalised(inputs, inputs, 3, stride, groups=inputs)
    return [*depthwise, nn.ReLU(), *normalised(inputs, outputs, 1), nn.ReLU()]


class ResidualStack(nn.Module):
    """Two convolutions around which the input is led, through a convolution of its own where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*normalised(inputs, outputs, 3, stride), nn.ReLU(), *normalised(outputs, outputs, 3))
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ResNet8(nn.Sequential):
    """MLPerf Tiny's image classification (CIFAR-10): three residual stacks of 16, 32 and 64 channels.

    Source: resnet_v1_eembc with 16 filters, github.com/mlcommons/tiny, benchmark/training/image_classification.
    Keras counts 78,666 parameters there: these and the 480 running statistics of batch norm.
    """

    def __init__(self) -> None:
        super().__init__(
            *normalised(3, 16, 3),
            nn.ReLU(),
            ResidualStack(16, 16, 1),
            ResidualStack(16, 32, 2),
            ResidualStack(32, 64, 2),
            nn.AvgPool2d(8),
            nn.Flatten(),
            nn.Linear(64, 10),
        )


class KeywordDSCNN(nn.Sequential):
    """MLPerf Tiny's keyword spotting: a 10x4 convolution, four depthwise-separable blocks of 64 channels.

    Source: get_model("ds_cnn"), github.com/mlcommons/tiny, benchmark/training/keyword_spotting, after Zhang et al.,
    arXiv:1711.07128. Keras counts 24,908 parameters there: these and the 1,152 running statistics of batch norm.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.ZeroPad2d((1, 1, 4, 5)),  # TensorFlow's "same" from 49x10 to 25x5
            nn.Conv2d(1, 64, (10, 4), stride=2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Dropout(0.2),
            *(layer for _ in range(4) for layer in separable(64, 64)),
            nn.Dropout(0.4),
            nn.AvgPool2d((25, 5)),
            nn.Flatten(),
            nn.Linear(64, 12),
        )


class PersonMobileNet(nn.Sequential):
    """MLPerf Tiny's visual wake words: MobileNetV1 with a quarter of the channels.

    Source: mobilenet_v1, github.com/mlcommons/tiny, benchmark/training/visual_wake_words, after Howard et al.,
    arXiv:1704.04861. Keras counts 221,794 parameters there: these and the 5,472 running statistics of batch norm.
    """

    def __init__(self) -> None:
        blocks = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)]
        blocks += 5 * [(128, 128, 1)] + [(128, 256, 2), (256, 256, 1)]
        super().__init__(
            *normalised(3, 8, 3, 2),
            nn.ReLU(),
            *(layer for block in blocks for layer in separable(*block)),
            nn.AvgPool2d(3),
            nn.Flatten(),
            nn.Linear(256, 2),
        )


class DeepAutoencoder(nn.Sequential):
    """MLPerf Tiny's anomaly detection (ToyADMOS): linear layers with batch norm, 640-128x4-8-128x4-640.

    Source: get_model, github.com/mlcommons/tiny, benchmark/training/anomaly_detection. Keras counts 269,992
    parameters there: these and the 2,064 running statistics of batch norm.
    """

    def __init__(self) -> None:
        sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128]
        hidden = [
            layer
            for inputs, outputs in itertools.pairwise(sizes)
            for layer in (nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())
        ]
        super().__init__(*hidden, nn.Linear(128, 640))


class InvertedResidual(nn.Module):
    """Expansion to four times the channels, depthwise convolution, and a linear bottleneck."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.add = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.add else self.body(x)


class SmallMobileNetV2(nn.Sequential):
    """Inverted residuals after Sandler et al., "MobileNetV2", arXiv:1801.04381."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()),
            *(InvertedResidual(16, 16, 1), InvertedResidual(16, 24, 2), InvertedResidual(24, 24, 1)),
            *(nn.Conv2d(24, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
        )


class TinyViT(nn.Module):
    """A vision transformer after Dosovitskiy et al., arXiv:2010.11929, with PyTorch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, stride=8)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.positions = nn.Parameter(torch.zeros(1, 17, 32))
        self.encoder = self.blocks()
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))

    def blocks(self) -> nn.Module:
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True, activation="gelu")
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], dim=1)
        return self.head(self.encoder(tokens + self.positions)[:, 0])


class ModuleAttention(nn.Module):
    """Self-attention by nn.MultiheadAttention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class FunctionAttention(nn.Module):
    """Self-attention by F.scaled_dot_product_attention."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MatmulAttention(FunctionAttention):
    """Self-attention with its two matrix products written out."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / 8**0.5).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class AttentionBlock(nn.Module):
    """Attention and two linear layers, each behind a layer norm and bypassed."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(32), attention)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class TinyViTModule(TinyViT):
    """The same arithmetic, in blocks around nn.MultiheadAttention."""

    def blocks(self) -> nn.Module:
        return nn.Sequential(*(AttentionBlock(ModuleAttention()) for _ in range(2)))


class TinyViTFunction(TinyViT):
    """The same arithmetic, in blocks around F.scaled_dot_product_attention."""

    def blocks(self) -> nn.Module:
        return nn.Sequential(*(AttentionBlock(FunctionAttention()) for _ in range(2)))


class TinyViTMatmul(TinyViT):
    """The same arithmetic, in blocks around written-out attention."""

    def blocks(self) -> nn.Module:
        return nn.Sequential(*(AttentionBlock(MatmulAttention()) for _ in range(2)))


class LSTMClassifier(nn.Module):
    """One LSTM over inertial signals, classified by its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(9, 32, batch_first=True)
        self.head = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.lstm(x.transpose(1, 2))
        return self.head(steps[:, -1])


class GRUClassifier(nn.Module):
    """Three recurrences: a narrow and a wide GRU, then a two-way one of which the mean is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.GRU(9, 16, batch_first=True)
        self.second = nn.GRU(16, 24, batch_first=True)
        self.third = nn.GRU(24, 24, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 6)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.second(self.first(x.transpose(1, 2))[0])[0]
        return self.head(self.third(steps)[0].mean(dim=1))


class CausalBlock(nn.Module):
    """Two dilated convolutions that see no future, bypassed."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.first = nn.Conv1d(inputs, outputs, 3, dilation=dilation)
        self.second = nn.Conv1d(outputs, outputs, 3, dilation=dilation)
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(F.pad(x, (self.past, 0))))
        y = F.relu(self.second(F.pad(y, (self.past, 0))))
        return F.relu(y + self.shortcut(x))


class TCN(nn.Module):
    """A temporal convolutional net after Bai et al., arXiv:1803.01271, without its weight norm."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(CausalBlock(9, 16, 1), CausalBlock(16, 16, 2), CausalBlock(16, 16, 4))
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x)[:, :, -1])


class SqueezeExcitation(nn.Module):
    """A block whose channels are weighted by what is in all of them, after Hu et al., arXiv:1709.01507."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.squeeze = nn.Linear(16, 4)
        self.excite = nn.Linear(4, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.conv(x)
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean(dim=(2, 3))))))
        return self.head(F.relu(x + y * scale[:, :, None, None]).mean((2, 3)))


class SmallUNet(nn.Module):
    """Two levels after Ronneberger et al., "U-Net", arXiv:1505.04597; grown by interpolation and by convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(1, 8, 3, padding=1)
        self.down2 = nn.Conv2d(8, 16, 3, padding=1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.up2 = nn.Conv2d(32, 8, 3, padding=1)
        self.grow = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.up1 = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu(self.down1(x))
        coarse = F.relu(self.down2(F.max_pool2d(fine, 2)))
        x = F.relu(self.middle(F.max_pool2d(coarse, 2)))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = F.relu(self.up2(torch.cat([x, coarse], dim=1)))
        return self.head(F.relu(self.up1(torch.cat([self.grow(x), fine], dim=1))))


class Functions(nn.Module):
    """Products by functions and operators, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(24, 16))
        self.bias = nn.Parameter(torch.zeros(24))
        self.shared = nn.Linear(24, 24)
        self.matrix = nn.Parameter(torch.randn(24, 12))
        self.out = nn.Parameter(torch.randn(5, 12))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.linear(x, self.weight, self.bias))
        x = self.shared(F.relu(self.shared(x)))
        return torch.einsum("ni,oi->no", x @ self.matrix, self.out)


class TwoInputs(nn.Module):
    """An image and a signal, classified together."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(1, 4, 3)
        self.signal = nn.Conv1d(6, 4, 5)
        self.head = nn.Linear(4 * 36 + 4 * 28, 3)

    def forward(self, image: Tensor, signal: Tensor) -> Tensor:
        parts = F.relu(self.image(image)), F.relu(self.signal(signal))
        return self.head(torch.cat([part.flatten(1) for part in parts], dim=1))


class TupleInput(TwoInputs):
    """The same net, which takes its inputs as one tuple."""

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        image, signal = pair
        return super().forward(image, signal)


class DictInput(TwoInputs):
    """The same net, which takes its inputs as one dict."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch["image"], batch["signal"])
