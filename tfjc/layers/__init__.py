"""Keras layers that the networks of the papers are made of, for anybody's model."""

from tfjc.layers.conditional import ConditionalBatchNormalization

__all__ = ["ConditionalBatchNormalization"]
