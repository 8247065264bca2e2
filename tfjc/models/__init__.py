"""Trainable models with a short `train_step`."""

from tfjc.models._model import GenerativeModel, default_optimizer
from tfjc.models.damped import DampedGAN
from tfjc.models.gan import GAN

__all__ = ["GAN", "DampedGAN", "GenerativeModel", "default_optimizer"]
