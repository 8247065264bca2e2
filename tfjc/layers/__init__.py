"""Keras layers and layer wrappers of the papers' networks. They work in any Keras model."""

from tfjc.layers.activation import LeakyReLU
from tfjc.layers.convolution import Conv2D, Conv2DTranspose, PooledConv2D, UpsampledConv2D
from tfjc.layers.normalization import BatchNormalization, ConditionalBatchNormalization
from tfjc.layers.preconditioning import Preconditioning, modified_condition_number, polynomial
from tfjc.layers.spectral import SpectralNormalization, kernel_matrix

__all__ = [
    "BatchNormalization",
    "ConditionalBatchNormalization",
    "Conv2D",
    "Conv2DTranspose",
    "LeakyReLU",
    "PooledConv2D",
    "Preconditioning",
    "SpectralNormalization",
    "UpsampledConv2D",
    "kernel_matrix",
    "modified_condition_number",
    "polynomial",
]
