"""A GAN whose generator and critic can be penalised (Odena et al. 2018, algorithm 1)."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfjc import architectures, datasets, losses, penalties
from tfjc.layers import SpectralNormalization
from tfjc.models._model import Batch, Measured, check_network, images_of, labels_of, objective, total
from tfjc.models._penalised import GeneratorPenalty, PenalisedModel, checked, generated
from tfjc.support import bounds, checks, noise, precision
from tfjc.support.images import dequantised, to_images

_CLASS_WEIGHTS = (1.0, 0.1)  # as in improved_wgan_training's gan_cifar_resnet.py


class GAN(PenalisedModel):
    """A generator and a critic trained against each other, with penalties on both.

    A training step takes [d_steps · batch, ...] real images. It makes d_steps critic updates and one generator update.
    A step is a pure function of (weights, optimiser state, step, images): all noise is drawn from
    (seed, stream, step).

    A class-conditional generator takes labels beside z. Its critic has two outputs, logits and class logits [B, C].
    The auxiliary classifier's cross-entropy is added to the critic's loss on real images, and to the generator's loss
    on generated images (Odena et al. 2017). A critic update generates images of the real images' labels. A generator
    update draws labels uniformly.

    Args:
      generator: Keras model z [B, n_z] → images in [−1, 1]; with `num_classes`, [z, labels int32 [B]] → images.
      critic: Keras model images → logits [B, 1] or [B]; with `num_classes`, → [logits, class logits [B, C]].
      loss: name ("non_saturating", "wasserstein", ...), or a `Loss` or `PairedLoss` of `tfjc.losses`. The generator
        of a paired loss is compared with the real images of the last critic update.
      generator_penalties: penalties such as `JacobianClamping`. The mean of each over the batch is added to the
        generator's loss.
      critic_penalties: penalties such as `GradientPenalty`. The mean of each is added to the critic's loss.
      d_steps: critic updates in a step.
      num_classes: C of a class-conditional generator.
      class_weights: weights of the cross-entropy in the critic's and in the generator's loss; (1, 0.1) by default.
      generator_batch: samples of a generator update as a multiple of those of a critic update (2 in WGAN-GP's code).
      dequantise: whether uint8 images v become v/128 − 1 + U(0, 1/128) instead of v/127.5 − 1 (WGAN-GP's code).
      ema_decay: β of an average of the generator's weights, w̄ ← βw̄ + (1 − β)w after each step. The averaged
        generator is then measured, sampled and exported. None for no average.
      prior: distribution over latents [n_z] (`architectures.Prior`); by default N(0, I) of the generator's input size.
      seed: seed of all noise in training.

    Raises:
      ValueError: the networks do not fit each other, or an argument is out of range.
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        loss: str | losses.AdversarialLoss = "non_saturating",
        generator_penalties: Sequence[GeneratorPenalty] = (),
        critic_penalties: Sequence[penalties.CriticPenalty] = (),
        d_steps: int = 1,
        num_classes: int | None = None,
        class_weights: Sequence[float] | None = None,
        generator_batch: int = 1,
        dequantise: bool = False,
        ema_decay: float | None = None,
        prior: architectures.Prior | None = None,
        seed: int = 0,
        name: str = "gan",
    ) -> None:
        check_network("critic", critic)
        options: dict[str, Any] = {"num_classes": num_classes, "prior": prior, "seed": seed, "name": name}
        super().__init__(generator, critic, generator_penalties=generator_penalties, **options)
        self.adversarial_loss = losses.get(loss)
        self.critic_penalties = checked("critic_penalties", critic_penalties, of_generator=False)
        self.d_steps = self.images_per_sample = checks.integer("d_steps", d_steps, minimum=1)
        self.generator_batch = checks.integer("generator_batch", generator_batch, minimum=1)
        if self.adversarial_loss.is_paired and self.generator_batch > 1:
            raise ValueError(
                "a paired loss needs as many generated as real images, and so generator_batch = 1, found "
                f"{self.generator_batch}"
            )
        checks.fits(f"generator_batch = {generator_batch}", 4 * self.generator_batch * math.prod(self.image_shape))
        self.dequantise = checks.boolean("dequantise", dequantise)
        self.class_weights = self._check_critic(class_weights)
        self.ema_decay = None if ema_decay is None else checks.real("ema_decay", ema_decay, minimum=0.0, below=1.0)
        self.averaged_generator = None if ema_decay is None else copy(generator)
        self._ready(self._logged())

    @property
    def evaluated_generator(self) -> keras.Model:
        """The generator that is measured, sampled and exported: the averaged one if there is one."""
        return self.generator if self.averaged_generator is None else self.averaged_generator

    def training_data(self, data: datasets.Dataset) -> Any:
        """The arrays of `data` that this model trains on: images, or (images, labels).

        Raises:
          ValueError: images or labels do not fit the networks, or `dequantise` is set and the images are floats.
        """
        self._check_integers(data.images)
        return super().training_data(data)

    def _check_images(self, images):
        images = super()._check_images(images)
        if len(images) < self.d_steps:
            raise ValueError(f"d_steps = {self.d_steps} needs at least {self.d_steps} images, found {len(images)}")
        self._check_integers(images)
        return images

    def _check_integers(self, images):
        if self.dequantise and not np.issubdtype(images.dtype, np.integer):
            raise ValueError(f"dequantise needs images of whole numbers 0 to 255 (uint8), found {images.dtype}")

    def train_step(self, data: Batch) -> dict[str, tf.Tensor]:
        """Algorithm 1: d_steps critic updates, each on its own part of the images, then one generator update."""
        images, labels = self._images(images_of(data)), self._given_labels(data)
        batch_size = tf.shape(images)[0] // self.d_steps
        with tf.control_dependencies([images]):  # Keras ends a dataset of unknown length with an empty step
            for k in range(self.d_steps):
                part = slice(k * batch_size, (k + 1) * batch_size)
                self._update_critic(images[part], None if labels is None else labels[part], update=k)
            self._update_generator(images[part], batch_size * self.generator_batch, update=self.d_steps)
            self._average()
            self.step.assign_add(1)
        return self._results()

    def _update_critic(self, real, labels, update):
        fake = self._generate(self._latents(tf.shape(real)[0], update), labels)
        with tf.GradientTape() as tape:
            minimised, measured = self._critic_objective(real, labels, fake, update)
            minimised = self.critic_optimizer.scale_loss(minimised)
        self._track(measured)
        self._descend(tape, minimised, self.critic, self.critic_optimizer)

    def _update_generator(self, real, batch_size, update):
        with tf.GradientTape() as tape:
            minimised, measured = self._generator_objective(real, batch_size, update)
            minimised = self.generator_optimizer.scale_loss(minimised)
        self._track(measured)
        self._descend(tape, minimised, self.generator, self.generator_optimizer)

    def _average(self):
        """Updates the averaged generator: w̄ ← βw̄ + (1 − β)w for trained weights.

        Moving statistics are copied. The averaged generator has its own spectral norms, which are updated here.
        """
        if self.averaged_generator is None:
            return
        normalised = [n for n in self.averaged_generator._flatten_layers() if isinstance(n, SpectralNormalization)]
        own = {id(layer.u) for layer in normalised}
        for mean, weight in zip(self.averaged_generator.variables, self.generator.variables, strict=True):
            if weight.trainable:
                mean.assign(mean + (1.0 - self.ema_decay) * (weight - mean))
            elif id(mean) not in own:
                mean.assign(weight)
        for layer in normalised:
            layer.normalised_kernel(training=True)

    def _critic_objective(self, real, labels, fake, update) -> tuple[tf.Tensor, Measured]:
        """(the critic's objective, the (name, value) pairs that are logged)."""
        logits, class_logits = self._judge(real)
        loss = self.adversarial_loss.of_critic(logits, self._judge(fake)[0])
        seeds = [self._seed(noise.Stream.CRITIC_PENALTY, update, index) for index in range(len(self.critic_penalties))]
        added = [
            self._mean(penalty, [self._logits, real, fake, seed], like=loss)
            for penalty, seed in zip(self.critic_penalties, seeds, strict=True)
        ]
        measured = [("critic_loss", loss), *([("critic_penalty", total(added))] if added else [])]
        if labels is not None:
            class_loss = _cross_entropy(labels, class_logits)
            added.append(self.class_weights[0] * class_loss)
            measured.append(("critic_class_loss", class_loss))
        return objective(self.critic, loss, added), measured

    def _generator_objective(self, real, batch_size, update) -> tuple[tf.Tensor, Measured]:
        """(the generator's objective on new latents, the (name, value) pairs that are logged).

        A paired loss compares the new images with the real ones.
        """
        z, labels = self._latents(batch_size, update), self._labels(batch_size, update)
        x, arguments = self._penalised(z, labels)
        logits, class_logits = self._judge(x)
        compared = self._judge(real)[0] if self.adversarial_loss.is_paired else None
        loss = self.adversarial_loss.of_generator(compared, logits)
        added, of_penalties = self._added(arguments)
        measured = [("generator_loss", loss), *of_penalties]
        if labels is not None:
            class_loss = _cross_entropy(labels, class_logits)
            added.append(self.class_weights[1] * class_loss)
            measured.append(("generator_class_loss", class_loss))
        return objective(self.generator, loss, added), measured

    def _images(self, images):
        """A batch as float32 in [−1, 1]."""
        if self.dequantise:
            return dequantised(images, self._seed(noise.Stream.DEQUANTISATION), parts=self.d_steps)
        return to_images(images)

    def _given_labels(self, data):
        """The labels of a batch as int32 [B], from [B] or [B, 1]."""
        return None if self.num_classes is None else tf.reshape(tf.cast(labels_of(data), tf.int32), [-1])

    def _generate(self, z, labels):
        return generated(self.generator, z, labels)

    def _judge(self, images):
        """(logits, class logits or None) of the critic in training mode, in float32 or float64."""
        outputs = self.critic(images, training=True)
        if self.class_weights is None:
            return precision.full(outputs), None
        return precision.full(outputs[0]), precision.full(outputs[1])

    def _logits(self, images, training=True):
        return self._judge(images)[0]

    def _logged(self):
        """The names of the logged scalars, without those of the generator's penalties."""
        names = ["critic_loss", "generator_loss", *["critic_penalty"] * bool(self.critic_penalties)]
        return [*names, *["critic_class_loss", "generator_class_loss"] * (self.class_weights is not None)]

    def _check_critic(self, class_weights):
        """Builds the critic by one call; returns the weights of the class losses, or None without classes."""
        outputs = self.critic(self._examples()[1], training=False)
        if isinstance(outputs, dict):
            raise ValueError(f"the critic must return logits [B, 1] or [B], found a dict of {', '.join(outputs)}")
        classifies = isinstance(outputs, (list, tuple))
        logits, *class_logits = outputs if classifies else [outputs]
        if tuple(logits.shape) not in ((2,), (2, 1)):
            raise ValueError(f"the critic must return logits [B, 1] or [B], found {list(logits.shape)} for B = 2")
        if self._ends_in_a_sigmoid(logits):
            warnings.warn("the critic ends in a sigmoid; its losses take logits, so remove the sigmoid", stacklevel=5)
        found = [list(entry.shape[1:]) for entry in class_logits]
        if self.num_classes is None and (classifies or class_weights is not None):
            raise ValueError(
                f"the generator takes no labels (num_classes is None), found class_weights = {class_weights} and a "
                f"critic with {'class logits ' + str(found) if found else 'no class logits'}"
            )
        if self.num_classes is None:
            return None
        if found != [[self.num_classes]]:
            raise ValueError(
                f"the generator is conditional on {self.num_classes} classes, so the critic must return [logits, class "
                f"logits [B, {self.num_classes}]], found {'class logits ' + str(found) if found else 'no class logits'}"
            )
        return _pair_of_weights(_CLASS_WEIGHTS if class_weights is None else class_weights)

    def _ends_in_a_sigmoid(self, logits):
        """Whether the critic's last operations end in a sigmoid; `logits` are two of its outputs."""
        if tf.reduce_any((logits < 0.0) | (logits > 1.0)):
            return False
        images = tf.zeros([2, *self.image_shape])
        return bounds.of(lambda x: tf.nest.flatten(self.critic(x, training=False))[0], images) == (0.0, 1.0)

    def _differentiated_twice(self):
        return [*super()._differentiated_twice(), *[self.critic] * bool(self.critic_penalties)]


def copy(network: keras.Model) -> keras.Model:
    """A network with the same layers, copies of the weights, and its own variables.

    Raises:
      ValueError: Keras cannot clone the network.
    """
    try:
        twin = keras.models.clone_model(network)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"an average of the generator's weights needs a generator that Keras can clone: {error}"
        ) from error
    twin.set_weights(network.get_weights())
    return twin


def _cross_entropy(labels, class_logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, class_logits))


def _pair_of_weights(weights):
    if not isinstance(weights, (tuple, list)) or len(weights) != 2:
        raise ValueError(f"class_weights must be a pair, the critic's and the generator's, found {weights!r}")
    return tuple(checks.real("class_weights", weight, minimum=0.0) for weight in weights)
