"""The same network written by hand in Keras, as a colleague ported it."""

from __future__ import annotations

import keras
import numpy as np
from torch import Tensor

from their_net.net import KeywordNet

__all__ = ["ported"]


def ported(net: KeywordNet) -> keras.Model:
    """Spectrograms (N, 49, 10, 1) to scores, with the weights of a network in PyTorch."""
    width, keywords = net.stem.out_channels, net.head.out_features
    model = keras.Sequential(
        [
            keras.Input((49, 10, 1)),
            keras.layers.ZeroPadding2D((4, 1)),  # padding="same" would pad unevenly for a stride of 2
            keras.layers.Conv2D(width, (10, 4), strides=2, use_bias=False),
            keras.layers.BatchNormalization(epsilon=net.norm.eps),  # Keras' own default is 1e-3
            keras.layers.ReLU(),
            keras.layers.DepthwiseConv2D(3, padding="same"),
            keras.layers.Conv2D(width, 1, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Permute((3, 1, 2)),  # flatten in PyTorch's order
            keras.layers.Flatten(),
            keras.layers.Dense(keywords),
        ]
    )
    stem, norm, depthwise, pointwise, head = (layer for layer in model.layers if layer.weights)
    stem.set_weights([_kernel(net.stem.weight)])
    norm.set_weights([_array(each) for each in (net.norm.weight, net.norm.bias, *net.norm.buffers())][:4])
    depthwise.set_weights([_array(net.depthwise.weight.permute(2, 3, 0, 1)), _array(net.depthwise.bias)])
    pointwise.set_weights([_kernel(net.pointwise.weight), _array(net.pointwise.bias)])
    head.set_weights([_array(net.head.weight.T), _array(net.head.bias)])
    return model


def _kernel(weight: Tensor) -> np.ndarray:
    return _array(weight.permute(2, 3, 1, 0))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
