"""Trainable models: GANs, variational autoencoders and a memoriser, each a `keras.Model` with a short `train_step`."""

from tfjc.models._model import GenerativeModel, default_optimizer
from tfjc.models._watch import Diverged, check_finite
from tfjc.models.damped import DampedGAN
from tfjc.models.gan import GAN
from tfjc.models.memoriser import Memoriser
from tfjc.models.vae import VAE

__all__ = ["GAN", "VAE", "DampedGAN", "Diverged", "GenerativeModel", "Memoriser", "check_finite", "default_optimizer"]
