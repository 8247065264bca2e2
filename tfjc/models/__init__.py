"""Trainable models with a short `train_step`."""

from tfjc.models.gan import GAN, default_optimizer

__all__ = ["GAN", "default_optimizer"]
