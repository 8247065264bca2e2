"""The papers' networks. Each function takes the image shape and returns a `Networks`."""

from tfjc.architectures._networks import Networks
from tfjc.architectures.dcgan import dcgan, dcgan_vae
from tfjc.architectures.mlp import mlp
from tfjc.architectures.prior import Prior, StandardNormal, prior_of, standard_normal
from tfjc.architectures.sngan import sngan_cnn, sngan_resnet
from tfjc.architectures.wgangp import wgangp_resnet

__all__ = [
    "Networks",
    "Prior",
    "StandardNormal",
    "dcgan",
    "dcgan_vae",
    "mlp",
    "prior_of",
    "sngan_cnn",
    "sngan_resnet",
    "standard_normal",
    "wgangp_resnet",
]
