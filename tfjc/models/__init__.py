"""Trainable models with a short `train_step`."""

from tfjc.models.gan import GAN

__all__ = ["GAN"]
