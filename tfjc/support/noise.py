"""Every use of randomness in tfjc, each with a stream of its own.

Random numbers are a function of (seed, stream, indices). Two streams are independent at the same seed, indices and
shape, and so are two seeds of one stream. TensorFlow is imported only by the function that needs it.
"""

from __future__ import annotations

import enum
import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorflow as tf

_SALT = 0x74666A63  # "tfjc": keeps our streams apart from a user's own draws at seeds such as [0, 0] or [seed, 1]


class Stream(enum.IntEnum):
    """What random numbers are drawn for. A number is never used again for another purpose."""

    # Latents and labels at which a generator is looked at
    MEASURED_LATENTS = 1  # z at which a run's conditioning is measured and its pictures are drawn
    SCORED_LATENTS = 2  # z of the samples that a run's evaluators score
    MEMORISED_LATENTS = 3  # z of the pairs that a memoriser learns
    LOADED_LATENTS = 4  # z at which `analyze` and `evaluate` take a generator from a file
    LOADED_LABELS = 5  # labels beside LOADED_LATENTS
    SERVED_LATENTS = 6  # z of the function `sample` of an exported generator
    SERVED_LABELS = 7  # labels beside SERVED_LATENTS
    EXAMPLES = 8  # z on which a model or an export tries its generator once, and what else such a trial takes
    REFEREE_LATENTS = 9  # z at which a generator and its float64 copy are compared

    # Measurements
    DIRECTIONS = 10  # steps in z of the conditioning evaluator's quotients
    COTANGENTS = 12  # u of the Jacobian engine's check of Jᵀu
    ADJOINTS = 13  # u and v of the operator's check that ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, by axis
    LANCZOS = 14  # the solver's starting vector
    LYAPUNOV = 15  # first perturbations of the Lyapunov exponents of a map, of a flow, or of a training's copies

    # Training, by the update within a step, the penalty's place in its list, and the step
    TRAINING_LATENTS = 20  # z of a critic's or a generator's update
    TRAINING_LABELS = 21  # labels of a generator's update
    GENERATOR_PENALTY = 22  # what a model hands to a penalty on the generator
    CRITIC_PENALTY = 23  # what a model hands to a penalty on the critic
    DEQUANTISATION = 24  # noise below one grey level that is added to real images
    POSTERIOR = 25  # noise of a VAE's posterior sample, a fold of the seed that `VAE.terms` is given
    POSTERIOR_SEED = 26  # what a VAE's training step gives to `VAE.terms`
    DATA_ORDER = 27  # the permutation of the images, by epoch

    # Penalties: each one's own fold of the seed that it is given
    CLAMPING = 30  # δ of Jacobian Clamping
    OROJAR = 31  # v of orthogonal Jacobian regularisation
    PATH_LENGTH = 32  # y of path length regularisation
    INTERPOLATION = 33  # α of the gradient penalty

    # Weights, by layer
    GENERATOR_WEIGHTS = 40  # initial weights of a generator
    CRITIC_WEIGHTS = 41  # initial weights of a critic or an encoder
    CLASSIFIER_WEIGHTS = 42  # initial weights of the classifier that scores are taken with
    SPECTRAL_NORM = 43  # first u of spectral normalisation

    # Data
    CLASSIFIER_BATCHES = 50  # batches and shifts of the classifier's training, by step
    HELD_OUT = 51  # which fifth of a dataset without a test split is held out
    REAL_IMAGES = 52  # which real images samples are compared with
    MEMORISED_IMAGES = 53  # which images a memoriser learns
    GAUSSIANS = 54  # points of the Gaussian mixtures

    # Studies
    REPORT = 60  # the test for two clusters in a study's report
    LAMBDAS = 61  # the test for two clusters that the choice of λ rests on

    # Dynamics
    GAME_DATA = 70  # real samples of a tiny GAN
    GAME_LATENTS = 71  # latents of a tiny GAN
    GAME_WEIGHTS = 72  # initial weights of an MLP's GAN
    PLANE = 73  # the plane of a random cut
    GAME_NOISE = 74  # noise in the parameters that a field is averaged over


def seed(seed, stream: Stream, *indices) -> tf.Tensor:
    """The seed int32[2] of TensorFlow's stateless functions for a stream of `seed`; stays on the device.

    Args:
      seed: a whole number, or int32[2] that a caller has given; a tensor or not.
      stream: what is drawn.
      indices: whole numbers, tensors or not, that tell draws of one stream apart: a place in a list, the step.
    """
    import tensorflow as tf

    seed = tf.cast(seed, tf.int32)
    folded = tf.stack([seed, _SALT]) if seed.shape.rank == 0 else tf.random.fold_in(seed, _SALT)
    for index in (int(stream), *indices):
        folded = tf.random.fold_in(folded, tf.cast(index, tf.int32))
    return folded


def rng(seed: int, stream: Stream, *indices: int) -> np.random.Generator:
    """NumPy's random number generator for a stream of `seed`; `indices` tell draws of one stream apart."""
    return np.random.default_rng(_sequence(seed, stream, indices))


def integer(seed: int, stream: Stream, *indices: int) -> int:
    """A whole number, 0 to 2³¹ − 1, for what takes no more than that as its seed, such as Keras's initializers."""
    return int(_sequence(seed, stream, indices).generate_state(1)[0] >> 1)


def integers(seed: int, stream: Stream) -> Iterator[int]:
    """`integer` for indices 0, 1, 2, ...: a seed for the initial weights of each layer that a network is made of."""
    return (integer(seed, stream, index) for index in itertools.count())


def _sequence(seed, stream, indices):
    # Beside `entropy` alone, NumPy would take [seed, 1] and [seed, 1, 0] for the same.
    return np.random.SeedSequence([_SALT, seed], spawn_key=(int(stream), *map(int, indices)))
