"""A GAN whose generator and critic can be penalised (Odena et al. 2018, algorithm 1)."""

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfjc import architectures, datasets, geometry, losses, penalties
from tfjc.layers import SpectralNormalization
from tfjc.models._layers import noise_states, normalises, warn_of_second_derivatives
from tfjc.models._model import Batch, GenerativeModel, Measured, check_network, images_of, labels_of, objective, total
from tfjc.support import checks, noise, precision
from tfjc.support.images import dequantised, to_images

_CLASS_WEIGHTS = (1.0, 0.1)  # as in improved_wgan_training's gan_cifar_resnet.py


class GAN(GenerativeModel):
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
      loss: name ("non_saturating", "wasserstein", ...) or a `tfjc.losses.Loss`.
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
        loss: str | losses.Loss = "non_saturating",
        generator_penalties: Sequence[penalties.ComparingPenalty | penalties.DifferentiatingPenalty] = (),
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
        super().__init__(generator, critic, num_classes=num_classes, prior=prior, seed=seed, name=name)
        self.adversarial_loss = losses.get(loss)
        self.generator_penalties = _penalties("generator_penalties", generator_penalties, of_generator=True)
        self.critic_penalties = _penalties("critic_penalties", critic_penalties, of_generator=False)
        remembered = [v for p in self.generator_penalties for v in getattr(p, "variables", ())]
        for index, variable in enumerate(remembered):  # checkpoints do not save a list of Keras variables
            setattr(self, f"remembered_{index}", variable)
        self.d_steps = self.images_per_sample = checks.integer("d_steps", d_steps, minimum=1)
        self.generator_batch = checks.integer("generator_batch", generator_batch, minimum=1)
        checks.fits(f"generator_batch = {generator_batch}", 4 * self.generator_batch * math.prod(self.image_shape))
        self.dequantise = checks.boolean("dequantise", dequantise)
        self.class_weights = self._check_critic(class_weights)
        self.ema_decay = None if ema_decay is None else checks.real("ema_decay", ema_decay, minimum=0.0, below=1.0)
        self.averaged_generator = None if ema_decay is None else copy(generator)
        self._check_generator()
        warn_of_second_derivatives(self._differentiated_twice())
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
            self._update_generator(batch_size * self.generator_batch, update=self.d_steps)
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

    def _update_generator(self, batch_size, update):
        with tf.GradientTape() as tape:
            minimised, measured = self._generator_objective(batch_size, update)
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
        loss = tf.reduce_mean(self.adversarial_loss.real(logits))
        loss += tf.reduce_mean(self.adversarial_loss.fake(self._judge(fake)[0]))
        added = [
            tf.reduce_mean(penalty(self._logits, real, fake, self._seed(noise.Stream.CRITIC_PENALTY, update, index)))
            for index, penalty in enumerate(self.critic_penalties)
        ]
        measured = [("critic_loss", loss), *([("critic_penalty", total(added))] if added else [])]
        if labels is not None:
            class_loss = _cross_entropy(labels, class_logits)
            added.append(self.class_weights[0] * class_loss)
            measured.append(("critic_class_loss", class_loss))
        return objective(self.critic, loss, added), measured

    def _generator_objective(self, batch_size, update) -> tuple[tf.Tensor, Measured]:
        """(the generator's objective on new latents, the (name, value) pairs that are logged)."""
        z, labels = self._latents(batch_size, update), self._labels(batch_size, update)
        x, arguments = self._penalised(z, labels)
        logits, class_logits = self._judge(x)
        loss = tf.reduce_mean(self.adversarial_loss.generator(logits))
        calls = list(zip(self.generator_penalties, arguments, strict=True))
        added = [self._penalty(penalty, found) for penalty, found in calls]
        measured = [("generator_loss", loss), *([("generator_penalty", total(added))] if added else [])]
        for penalty, found in calls:
            measured += penalty.measure(*found).items()
        if labels is not None:
            class_loss = _cross_entropy(labels, class_logits)
            added.append(self.class_weights[1] * class_loss)
            measured.append(("generator_class_loss", class_loss))
        return objective(self.generator, loss, added), measured

    def _penalty(self, penalty, arguments):
        """The mean of a penalty; of one for every k-th step, k times the mean at these steps and 0 at the others."""
        every = getattr(penalty, "every", 1)
        if every == 1:
            return tf.reduce_mean(penalty(*arguments))
        taken = lambda: every * tf.reduce_mean(penalty(*arguments))  # noqa: E731
        return tf.cond(self.step % every == 0, taken, lambda: tf.zeros_like(tf.reduce_mean(arguments[1])))

    def _penalised(self, z, labels):
        """(G(z), the arguments of each generator penalty). z and its neighbours pass the generator together."""
        seeds = [self._seed(noise.Stream.GENERATOR_PENALTY, index) for index in range(len(self.generator_penalties))]
        penalties = list(zip(self.generator_penalties, seeds, strict=True))
        moved = [penalty.perturb(z, seed) if _compares(penalty) else [] for penalty, seed in penalties]
        x, *images = one_pass(self.generator, [z, *tf.nest.flatten(moved)], labels)
        rows = zip(penalties, moved, tf.nest.pack_sequence_as(moved, images), strict=True)
        return x, [
            (z, z_p, x, x_p) if _compares(penalty) else (*self._differentiable(index, penalty, z, labels), seed)
            for index, ((penalty, seed), z_p, x_p) in enumerate(rows)
        ]

    def _differentiable(self, index, penalty, z, labels):
        """(`generate`, latents) of a penalty that differentiates the generator: new latents where it says how many.

        Every replica draws all of these few latents, so that the penalty does not depend on the number of replicas.
        """
        if getattr(penalty, "samples", None) is not None:
            z = self.prior.sample(penalty.samples, seed=self._seed(noise.Stream.PENALTY_LATENTS, index))
            seed = self._seed(noise.Stream.PENALTY_LABELS, index)
            labels = None if labels is None else self._uniform_labels([penalty.samples], seed)
        return functools.partial(generated, self.generator, labels=labels), z

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
        """The names of all logged scalars."""
        z, x = self._examples()
        seed = noise.seed(0, noise.Stream.EXAMPLES, 1)
        measured = [
            name
            for p in self.generator_penalties
            for name in p.measure(*((z, z + 1.0, x, x) if _compares(p) else (self._infer, z, seed)))
        ]
        names = ["critic_loss", "generator_loss", *["generator_penalty"] * bool(self.generator_penalties)]
        names += ["critic_penalty"] * bool(self.critic_penalties)
        return [*names, *measured, *["critic_class_loss", "generator_class_loss"] * (self.class_weights is not None)]

    def _check_critic(self, class_weights):
        """Builds the critic by one call; returns the weights of the class losses, or None without classes."""
        outputs = self.critic(self._examples()[1], training=False)
        classifies = isinstance(outputs, (list, tuple))
        logits, *class_logits = outputs if classifies else [outputs]
        if tuple(logits.shape) not in ((2,), (2, 1)):
            raise ValueError(f"the critic must return logits [B, 1] or [B], found {list(logits.shape)} for B = 2")
        last = (getattr(self.critic, "layers", None) or [None])[-1]
        if getattr(last, "activation", None) is keras.activations.sigmoid:
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

    def _differentiated_twice(self):
        """The networks whose gradient a penalty differentiates."""
        of_generator = any(not _compares(penalty) for penalty in self.generator_penalties)
        return [*[self.generator] * of_generator, *[self.critic] * bool(self.critic_penalties)]

    def _check_generator(self):
        """Raises ValueError where a penalty compares images and the generator's noise cannot be repeated.

        Warns where z and z' cannot share both their noise and their batch normalisation, as in the paper.
        """
        compared = any(map(_compares, self.generator_penalties))
        if compared and self.replicas == 1 and not self._repeats():
            raise ValueError(
                "the generator draws noise that cannot be repeated (tf.random.normal or the like): z and z' would get "
                "different noise, and a penalty that compares their images would measure the noise; draw it by "
                "keras.random with a keras.random.SeedGenerator"
            )
        if compared and noise_states(self.generator) and normalises(self.generator):
            warnings.warn(
                "the generator has both batch normalisation and noise of its own (dropout): z and z' get the same "
                "noise but are normalised separately, which lowers the quotients",
                stacklevel=4,
            )

    def _repeats(self):
        """Whether equal latents give equal images in one `one_pass`, so that the generator's noise can be repeated."""
        z, labels = self._examples()[0], None if self.num_classes is None else tf.constant([0, self.num_classes - 1])
        before = [(variable, variable.numpy()) for variable in self.generator.non_trainable_variables]
        first, second = (precision.full(x) for x in one_pass(self.generator, [z, z], labels))
        for variable, value in before:  # moving statistics and states of seeds
            variable.assign(value)
        apart, size = (tf.norm(tf.reshape(x, [-1])).numpy() for x in (first - second, first))
        least = max(1e-3, 4.0 * geometry.inspect(self.generator, z, labels).epsilon)
        return not apart > least * size  # values that are not finite do not count as noise


def one_pass(generator: keras.Model, latents: Sequence[tf.Tensor], labels: tf.Tensor | None = None) -> list[tf.Tensor]:
    """[G(z) for z in latents] from one training-mode pass over all mini-batches together.

    Batch normalisation then sees one batch (Odena et al. 2018, section 4: two mini-batches at a time). A generator
    that draws its own noise (dropout) runs once for each mini-batch instead, from the same state of its seeds. The
    difference of two outputs then measures the step in z and not the noise.

    Args:
      generator: Keras model z → images, or (z, labels) → images.
      latents: mini-batches [B, n_z].
      labels: labels [B], the same for each mini-batch, or None.
    """
    states = noise_states(generator)
    if not states or len(latents) == 1:
        repeated = None if labels is None else tf.concat([labels] * len(latents), axis=0)
        return tf.split(generated(generator, tf.concat(latents, axis=0), repeated), len(latents))
    before = [tf.identity(state.value) for state in states]
    outputs = []
    for z in latents:
        for state, value in zip(states, before, strict=True):
            state.assign(value)
        outputs.append(generated(generator, z, labels))
    return outputs


def generated(generator: keras.Model, z: tf.Tensor, labels: tf.Tensor | None, training: bool = True) -> tf.Tensor:
    """G(z), or G(z, labels), in training or inference mode."""
    functional = getattr(generator, "inputs", None)
    return generator(*([z] if labels is None else [[z, labels]] if functional else [z, labels]), training=training)


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


def _compares(penalty):
    """Whether a generator penalty compares images of neighbouring latents; the others differentiate the generator."""
    return hasattr(penalty, "perturb")


def _penalties(name, penalties, of_generator):
    """`penalties` as a tuple. A generator penalty has `measure`, a critic penalty does not."""
    penalties = tuple(penalties) if isinstance(penalties, (list, tuple)) else (penalties,)
    for penalty in penalties:
        if isinstance(penalty, type) or not callable(penalty) or hasattr(penalty, "measure") != of_generator:
            example = "JacobianClamping()" if of_generator else "GradientPenalty()"
            raise ValueError(f"{name} must be penalty objects such as {example}, found {penalty!r}")
    return penalties
