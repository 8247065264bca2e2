"""Penalties on the generator and the critic, one value for each sample. Random numbers come from the caller's seed.

A `CriticPenalty` is called with (critic, real, fake, seed) → [B]. A penalty on the generator is one of two kinds. Both
have `measure`, which takes the arguments of the call and returns a dict of scalars to log.

- A `ComparingPenalty` has `perturb(z, seed)` → z' [B, n_z], or a list of several such mini-batches. The generator maps
  z and z' to images x and x' in one pass. The penalty is called with (z, z', x, x') → [B]. Where z' is a list, x' is
  a list too.
- A `DifferentiatingPenalty` is called with (generate, z, seed) → [B]. `generate(z, training=...)` maps latents to
  images, in training mode unless `training=False`; a Keras model is such a function. The penalty runs the generator in
  a separate pass. One that has an attribute `samples` gets that many new latents, instead of those of the generator's
  update, and calls `generate(z, training=False)`. So does one that takes J: in training mode, batch normalisation
  mixes the samples.

A penalty that has a state keeps it in `variables`, a list. The model tracks and saves these variables. One on either
network that has an attribute `every` is taken at every `every`-th step, with `every` times its value.
"""

from tfjc.penalties._protocols import ComparingPenalty, CriticPenalty, DifferentiatingPenalty
from tfjc.penalties.clamping import JacobianClamping, QuotientFloor, quotient
from tfjc.penalties.critic import R1, R2, GradientPenalty
from tfjc.penalties.jacobian import OroJaR, PathLength
from tfjc.penalties.spectrum import ConditionNumber, Isometry, SpectralSpread

__all__ = [
    "R1",
    "R2",
    "ComparingPenalty",
    "ConditionNumber",
    "CriticPenalty",
    "DifferentiatingPenalty",
    "GradientPenalty",
    "Isometry",
    "JacobianClamping",
    "OroJaR",
    "PathLength",
    "QuotientFloor",
    "SpectralSpread",
    "quotient",
]
