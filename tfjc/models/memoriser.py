"""A generator that memorises pairs of latents and images (Odena et al. 2018, appendix B.1)."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc import architectures, datasets
from tfjc.models._model import Batch, images_of, labels_of, objective
from tfjc.models._penalised import GeneratorPenalty, PenalisedModel
from tfjc.support import checks, noise, precision
from tfjc.support.images import to_images


class Memoriser(PenalisedModel):
    """A generator trained to map fixed latents to fixed images by ‖G(z) − x‖²; half of them are copies of one image.

    It has no critic and no adversarial loss. It is the paper's example of a generator that is well conditioned although
    it has collapsed. The seed decides which images are memorised and which one is copied (a four in the paper).

    Args:
      generator: Keras model z [B, n_z] → images in [−1, 1].
      critic: ignored; accepted so that every architecture fits.
      pairs: the number of pairs, at least 2 (10,000 in the paper).
      generator_penalties: penalties at latents of the prior; the mean of each is added to the loss.
      prior: distribution over latents [n_z] (`architectures.Prior`); by default N(0, I) of the generator's input size.
      seed: seed of the pairs and their order.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model | None = None,
        *,
        pairs: int = 10_000,
        generator_penalties: Sequence[GeneratorPenalty] = (),
        prior: architectures.Prior | None = None,
        seed: int = 0,
        name: str = "memoriser",
    ) -> None:
        options: dict[str, Any] = {"prior": prior, "seed": seed, "name": name}
        super().__init__(generator, generator_penalties=generator_penalties, **options)
        self.pairs = checks.integer("pairs", pairs, minimum=2)
        self._ready(["generator_loss"])

    @functools.cached_property
    def known_latents(self) -> dict[str, tf.Tensor]:
        """{"memorised": the pairs' latents [pairs, n_z]}. Every second latent belongs to the copied image."""
        return {"memorised": self.prior.sample(self.pairs, seed=noise.seed(self.seed, noise.Stream.MEMORISED_LATENTS))}

    def memory(self, images: np.ndarray) -> tuple[np.ndarray, tf.Tensor]:
        """The pairs: images [pairs, ...], every second one the copied image, and latents [pairs, n_z].

        Args:
          images: the images to choose from, [N, ...].

        Raises:
          ValueError: there are fewer images than half the pairs and one to copy.
        """
        half = (self.pairs + 1) // 2
        if len(images) <= half:
            raise ValueError(f"{self.pairs} pairs need {half + 1} images, one of them to copy; found {len(images)}")
        order = noise.rng(self.seed, noise.Stream.MEMORISED_IMAGES).permutation(len(images))
        chosen = np.full(self.pairs, order[half])
        chosen[::2] = order[:half]
        return np.asarray(images)[chosen], self.known_latents["memorised"]

    def training_data(self, data: datasets.Dataset) -> tuple[np.ndarray, tf.Tensor]:
        """The pairs made of a dataset's images.

        Raises:
          ValueError: the images are too few, or do not fit the generator.
        """
        return self.memory(super().training_data(data))

    def fit(
        self,
        x: np.ndarray | tf.data.Dataset | None = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> keras.callbacks.History:
        """Keras's `fit` on an array of images, from which the pairs are made, or on a dataset of batches of pairs.

        Args:
          x: images [N, ...], uint8 or floats in [−1, 1]; or a dataset of (images, latents).
          y: must be None.
          batch_size: pairs of one update; at most 64 by default.
          options: other options of Keras's `fit`.
        """
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

    def train_step(self, data: Batch) -> dict[str, tf.Tensor]:
        """One update by the mean of ‖G(z) − x‖² over a batch of pairs (x, z)."""
        images, z = to_images(images_of(data)), labels_of(data)
        if z is None or z.shape.rank != 2:
            raise ValueError("a memoriser is trained on pairs (images, latents [B, n_z]), as `memory` makes them")
        with tf.control_dependencies([images]):
            with tf.GradientTape() as tape:
                x = precision.full(self.generator(z, training=True))
                missed = x - tf.cast(images, x.dtype)
                loss = tf.reduce_mean(tf.reduce_sum(tf.square(missed), axis=list(range(1, missed.shape.rank))))
                added, of_penalties = self._added_at_prior(tf.shape(images)[0])
                minimised = self.generator_optimizer.scale_loss(objective(self.generator, loss, added))
            self._track([("generator_loss", loss), *of_penalties])
            self._descend(tape, minimised, self.generator, self.generator_optimizer)
            self.step.assign_add(1)
        return self._results()
