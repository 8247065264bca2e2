"""Every use of random numbers in tfjc, each with its own stream.

Random numbers are a function of (seed, stream, indices). Two streams with the same seed, indices and shape are
independent, and so are two seeds of one stream. Only the function that needs TensorFlow imports it.
"""

from __future__ import annotations

import enum
import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tensorflow as tf

_SALT = 0x74666A63  # "tfjc": keeps these streams apart from a user's own draws at seeds such as [0, 0] or [seed, 1]


class Stream(enum.IntEnum):
    """The purpose of random numbers. A number is never given to a second purpose."""

    # Latents and labels at which a generator is measured or drawn
    MEASURED_LATENTS = 1  # z at which a run measures conditioning and draws pictures
    SCORED_LATENTS = 2  # z of the samples that a run's evaluators score
    MEMORISED_LATENTS = 3  # z of a memoriser's pairs
    LOADED_LATENTS = 4  # z at which `analyze` and `evaluate` call a generator from a file
    LOADED_LABELS = 5  # labels beside LOADED_LATENTS
    SERVED_LATENTS = 6  # z of the function `sample` of an exported generator
    SERVED_LABELS = 7  # labels beside SERVED_LATENTS
    EXAMPLES = 8  # z, labels and seeds of the trial call by which a model or an export checks its generator
    REFEREE_LATENTS = 9  # z at which a generator and its float64 copy are compared

    # Measurements
    DIRECTIONS = 10  # steps in z of the conditioning evaluator's quotients
    COTANGENTS = 12  # u of the Jacobian engine's check of Jᵀu
    ADJOINTS = 13  # u and v of the operator's check that ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, by axis
    LANCZOS = 14  # the solver's starting vector
    PROBES = 16  # starting vectors of stochastic Lanczos quadrature; the index is the latent's place
    LYAPUNOV = 15  # initial perturbations for Lyapunov exponents: of a map, of a flow, or of copies in training

    # Training; indices are the update within a step, the penalty's place in its list, and the step
    TRAINING_LATENTS = 20  # z of a critic's or a generator's update
    TRAINING_LABELS = 21  # labels of a generator's update
    GENERATOR_PENALTY = 22  # the seed that a model gives to a generator penalty
    CRITIC_PENALTY = 23  # the seed that a model gives to a critic penalty
    DEQUANTISATION = 24  # noise of less than one grey level, added to real images
    POSTERIOR = 25  # noise of a VAE's posterior sample, folded from the seed given to `VAE.terms`
    POSTERIOR_SEED = 26  # the seed that a VAE's training step gives to `VAE.terms`
    DATA_ORDER = 27  # the permutation of the images in each epoch
    PENALTY_LATENTS = 28  # z of a generator penalty that takes new latents; the index is its place in the list
    PENALTY_LABELS = 29  # labels beside PENALTY_LATENTS

    # Penalties; each folds its stream into the seed it is given
    CLAMPING = 30  # δ of Jacobian Clamping
    OROJAR = 31  # v of orthogonal Jacobian regularisation
    PATH_LENGTH = 32  # y of path length regularisation
    INTERPOLATION = 33  # α of the gradient penalty
    ISOMETRY = 34  # v of the isometry penalty

    # Weights; the index is the layer
    GENERATOR_WEIGHTS = 40  # initial weights of a generator
    CRITIC_WEIGHTS = 41  # initial weights of a critic or an encoder
    CLASSIFIER_WEIGHTS = 42  # initial weights of the classifier that scores samples
    SPECTRAL_NORM = 43  # initial u of spectral normalisation

    # Data
    CLASSIFIER_BATCHES = 50  # batches and shifts in the classifier's training; the index is the step
    HELD_OUT = 51  # the fifth of a dataset that is held out where there is no test split
    REAL_IMAGES = 52  # the real images that samples are compared with
    MEMORISED_IMAGES = 53  # the images that a memoriser learns
    GAUSSIANS = 54  # points of the Gaussian mixtures

    # Studies
    REPORT = 60  # the two-cluster test in a study's report
    LAMBDAS = 61  # the two-cluster test in the choice of λ

    # Dynamics
    GAME_DATA = 70  # real samples of a tiny GAN
    GAME_LATENTS = 71  # latents of a tiny GAN
    GAME_WEIGHTS = 72  # initial weights of a tiny GAN of MLPs
    PLANE = 73  # the random plane through parameter space
    GAME_NOISE = 74  # noise in the parameters over which a field is averaged


def seed(seed: int | Sequence[int] | tf.Tensor, stream: Stream, *indices: int | tf.Tensor) -> tf.Tensor:
    """The seed int32[2] of a stream for TensorFlow's stateless functions, on the device.

    Args:
      seed: a whole number, or a pair of them from a caller, such as [0, step]; tensors, variables or neither.
      stream: the purpose of the draw.
      indices: whole numbers, tensors or not, that distinguish draws of one stream: a place in a list, the step.

    Raises:
      ValueError: the seed is neither a whole number nor a pair of them.
    """
    import tensorflow as tf

    seed = _seed(tf, seed)
    folded = tf.stack([seed, _SALT]) if seed.shape.rank == 0 else tf.random.fold_in(seed, _SALT)
    for index in (int(stream), *indices):
        folded = tf.random.fold_in(folded, tf.cast(index, tf.int32))
    return folded


def _seed(tf, given):
    """A seed as an int32 tensor [] or [2]. A pair may hold Keras variables."""
    pair = isinstance(given, (list, tuple))
    try:
        parts = [tf.convert_to_tensor(part) for part in (given if pair else [given])]
    except (TypeError, ValueError):
        parts = []
    shapes = [tuple(part.shape) for part in parts]
    if not all(part.dtype.is_integer for part in parts) or shapes not in ([[(), ()]] if pair else [[()], [(2,)]]):
        raise ValueError(f"seed must be a whole number or a pair of them, such as [0, step], found {given}")
    parts = [tf.cast(part, tf.int32) for part in parts]
    return tf.stack(parts) if pair else parts[0]


def rng(seed: int, stream: Stream, *indices: int) -> np.random.Generator:
    """NumPy's random number generator of a stream; `indices` distinguish draws of one stream."""
    return np.random.default_rng(_sequence(seed, stream, indices))


def integer(seed: int, stream: Stream, *indices: int) -> int:
    """A seed from 0 to 2³¹ − 1 of a stream, for functions that take a single number, such as Keras's initializers."""
    return int(_sequence(seed, stream, indices).generate_state(1)[0] >> 1)


def integers(seed: int, stream: Stream) -> Iterator[int]:
    """`integer` at the indices 0, 1, 2, ...: one seed for the initial weights of each layer of a network."""
    return (integer(seed, stream, index) for index in itertools.count())


def _sequence(seed, stream, indices):
    # Indices go into `spawn_key`: as entropy alone NumPy treats [seed, 1] and [seed, 1, 0] alike.
    return np.random.SeedSequence([_SALT, seed], spawn_key=(int(stream), *map(int, indices)))
