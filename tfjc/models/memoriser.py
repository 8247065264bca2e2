"""A generator that learns pairs of latents and images by heart (Odena et al. 2018, appendix B.1)."""

import functools

import numpy as np
import tensorflow as tf

from tfjc.models._model import GenerativeModel, images_of, labels_of, objective
from tfjc.support import checks, noise, precision
from tfjc.support.images import to_images


class Memoriser(GenerativeModel):
    """A generator trained to map fixed latents to fixed images, half of them copies of one, by ‖G(z) − x‖².

    No critic and no adversarial loss: the paper's example of a generator that is well conditioned though it has
    collapsed. Which images are memorised, and which one is copied (the paper's is a four), is drawn from the seed.

    Args:
      generator: Keras model z [B, n_z] → images in [−1, 1].
      critic: not used; it may be given, so that every architecture fits.
      pairs: how many pairs (10,000 in the paper), at least 2.
      prior: TensorFlow Probability distribution over latents [n_z]; N(0, I) of the generator's input size by default.
      seed: of the pairs and their order.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, generator, critic=None, *, pairs=10_000, prior=None, seed=0, name="memoriser"):
        super().__init__(generator, prior=prior, seed=seed, name=name)
        self.pairs = checks.integer("pairs", pairs, minimum=2)
        self._ready(["generator_loss"])

    @functools.cached_property
    def known_latents(self):
        """{"memorised": the latents [pairs, n_z]}: any first part of them is half copies, to one."""
        return {"memorised": self.prior.sample(self.pairs, seed=noise.seed(self.seed, noise.Stream.MEMORISED_LATENTS))}

    def memory(self, images):
        """The pairs made of images [N, ...]: (images [pairs, ...], latents [pairs, n_z]), every second one a copy.

        Raises ValueError where there are too few images for half the pairs and one to be copied.
        """
        half = (self.pairs + 1) // 2
        if len(images) <= half:
            raise ValueError(f"{self.pairs} pairs need {half + 1} images, one of them to copy; found {len(images)}")
        order = noise.rng(self.seed, noise.Stream.MEMORISED_IMAGES).permutation(len(images))
        chosen = np.full(self.pairs, order[half])
        chosen[::2] = order[:half]
        return np.asarray(images)[chosen], self.known_latents["memorised"]

    def training_data(self, data):
        """The pairs made of a `datasets.Dataset`; raises ValueError where its images are too few or do not fit."""
        return self.memory(super().training_data(data))

    def fit(self, x=None, y=None, batch_size=None, **options):
        """Keras's `fit`, on an array of images, of which the pairs are made, or on a dataset of batches of pairs."""
        if hasattr(x, "__array__"):
            pairs = self.memory(self._check_images(x))
            size = (
                min(64, self.pairs - self.pairs % self.replicas)
                if batch_size is None
                else self.check_batch_size("batch_size", batch_size)
            )
            options = {"steps_per_epoch": max(1, self.pairs // size), **options}
            x, batch_size = self._batches(pairs, size), None
        return super().fit(x, y, batch_size, **options)

    def train_step(self, data):
        """One update by the mean of ‖G(z) − x‖² over a batch of pairs (x, z)."""
        images, z = to_images(images_of(data)), labels_of(data)
        if z is None or z.shape.rank != 2:
            raise ValueError("a memoriser is trained on pairs (images, latents [B, n_z]), as `memory` makes them")
        with tf.control_dependencies([images]):
            with tf.GradientTape() as tape:
                x = precision.full(self.generator(z, training=True))
                missed = x - tf.cast(images, x.dtype)
                loss = tf.reduce_mean(tf.reduce_sum(tf.square(missed), axis=list(range(1, missed.shape.rank))))
                minimised = self.generator_optimizer.scale_loss(objective(self.generator, loss, []))
            self._track([("generator_loss", loss)])
            self._descend(tape, minimised, self.generator, self.generator_optimizer)
            self.step.assign_add(1)
        return self._results()
