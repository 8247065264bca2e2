"""Trainable models with a short `train_step`."""

from tfjc.models.damped import DampedGAN
from tfjc.models.gan import GAN, default_optimizer

__all__ = ["GAN", "DampedGAN", "default_optimizer"]
