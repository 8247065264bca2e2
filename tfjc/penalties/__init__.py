"""Penalties on the generator and the critic, per sample and unreduced; noise comes from the caller's seed.

A critic penalty is called with (critic, real, fake, seed) → [B]. A generator penalty has `measure`, which takes the
same arguments as its call and gives a dict of scalars to watch; it is one of two kinds.

- One that compares images has `perturb(z, seed)` → z' [B, n_z], or a list of several such mini-batches. They go through
  the generator in the same pass as z, and it is called with (z, z', x, x') → [B], x' a list where z' is one.
- One that differentiates the generator is called with (generate, z, seed) → [B]; `generate` maps latents to images in
  training mode, and takes a pass of its own.

What a penalty remembers from step to step stands in its `variables`, which a model keeps, and saves, with its own.
"""

from tfjc.penalties.clamping import JacobianClamping, quotient
from tfjc.penalties.critic import R1, GradientPenalty
from tfjc.penalties.jacobian import OroJaR, PathLength

__all__ = ["R1", "GradientPenalty", "JacobianClamping", "OroJaR", "PathLength", "quotient"]
