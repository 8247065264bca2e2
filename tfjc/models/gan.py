"""A GAN whose generator can be held by penalties (Odena et al. 2018, algorithm 1)."""

import functools
import math
import warnings

import keras
import numpy as np
import tensorflow as tf

from tfjc import geometry, losses
from tfjc.layers import SpectralNormalization
from tfjc.models._layers import noise_states, normalises, warn_of_second_derivatives
from tfjc.models._model import GenerativeModel, check_network, images_of, labels_of, objective, total
from tfjc.support import checks, noise, precision
from tfjc.support.images import dequantised, to_images

_CLASS_WEIGHTS = (1.0, 0.1)  # of improved_wgan_training's gan_cifar_resnet.py


class GAN(GenerativeModel):
    """A generator and a critic trained against each other, with penalties on either.

    A training step takes [d_steps · batch, ...] real images and makes d_steps critic updates and one generator update.
    It is a pure function of (weights, optimiser state, step, images): all noise is drawn from (seed, stream, step).

    A class-conditional generator takes labels beside z. Its critic has two outputs, logits and class logits [B, C]:
    the auxiliary classifier's cross-entropy is added to the critic's loss on real images and to the generator's on its
    own (Odena et al. 2017). The critic sees fakes of the real images' labels; the generator's update draws new ones.

    Args:
      generator: Keras model z [B, n_z] → images in [−1, 1]; or of [z, labels int32 [B]], with `num_classes`.
      critic: Keras model images → logits [B, 1] or [B]; or → [logits, class logits [B, num_classes]].
      loss: name ("non_saturating", "wasserstein", ...) or a `tfjc.losses.Loss`.
      generator_penalties: such as `JacobianClamping`; each one's mean over the batch is added to the generator's loss.
      critic_penalties: such as `GradientPenalty`; each one's mean is added to the critic's loss.
      d_steps: critic updates in a step.
      num_classes: C of a class-conditional generator.
      class_weights: of the cross-entropies in the critic's and the generator's loss; (1, 0.1) where there are classes.
      generator_batch: how many times as many samples a generator update takes as a critic update (2 in WGAN-GP's code).
      dequantise: whether uint8 images v become v/128 − 1 + U(0, 1/128) instead of v/127.5 − 1 (WGAN-GP's code).
      ema_decay: β of an average of the generator's weights, w̄ ← βw̄ + (1 − β)w after each step; the averaged
        generator is then the one that is measured, sampled and exported. None for no average.
      prior: TensorFlow Probability distribution over latents [n_z]; N(0, I) of the generator's input size by default.
      seed: of all noise drawn in training.

    Raises:
      ValueError: the networks do not fit each other, or an argument is out of range.
    """

    def __init__(
        self,
        generator,
        critic,
        *,
        loss="non_saturating",
        generator_penalties=(),
        critic_penalties=(),
        d_steps=1,
        num_classes=None,
        class_weights=None,
        generator_batch=1,
        dequantise=False,
        ema_decay=None,
        prior=None,
        seed=0,
        name="gan",
    ):
        check_network("critic", critic)
        super().__init__(generator, critic, num_classes=num_classes, prior=prior, seed=seed, name=name)
        self.adversarial_loss = losses.get(loss)
        self.generator_penalties = _penalties("generator_penalties", generator_penalties, of_generator=True)
        self.critic_penalties = _penalties("critic_penalties", critic_penalties, of_generator=False)
        remembered = [v for p in self.generator_penalties for v in getattr(p, "variables", ())]
        for index, variable in enumerate(remembered):  # checkpoints would not hold a list of Keras variables
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
    def evaluated_generator(self):
        """The generator that is measured, sampled and exported: the averaged one where there is one."""
        return self.generator if self.averaged_generator is None else self.averaged_generator

    def training_data(self, data):
        """As of every model; `dequantise` needs whole numbers."""
        self._check_whole(data.images)
        return super().training_data(data)

    def _check_images(self, images):
        images = super()._check_images(images)
        if len(images) < self.d_steps:
            raise ValueError(f"d_steps = {self.d_steps} needs as many images at least, found {len(images)}")
        self._check_whole(images)
        return images

    def _check_whole(self, images):
        if self.dequantise and not np.issubdtype(images.dtype, np.integer):
            raise ValueError(f"dequantise needs images of whole numbers 0 to 255 (uint8), found {images.dtype}")

    def train_step(self, data):
        """Algorithm 1: d_steps critic updates, each on its own part of the images, then one generator update."""
        images, labels = self._images(images_of(data)), self._given_labels(data)
        batch_size = tf.shape(images)[0] // self.d_steps
        with tf.control_dependencies([images]):  # Keras ends a dataset of unknown length with a step that gets none
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
        """w̄ ← βw̄ + (1 − β)w; what is not trained (moving statistics) is taken as it is, but for spectral norms."""
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

    def _critic_objective(self, real, labels, fake, update):
        """What the critic minimises, and the (name, value) pairs that are logged of it."""
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

    def _generator_objective(self, batch_size, update):
        """What the generator minimises on new latents, and the (name, value) pairs that are logged of it."""
        z, labels = self._latents(batch_size, update), self._labels(batch_size, update)
        x, arguments = self._penalised(z, labels)
        logits, class_logits = self._judge(x)
        loss = tf.reduce_mean(self.adversarial_loss.generator(logits))
        calls = list(zip(self.generator_penalties, arguments, strict=True))
        added = [tf.reduce_mean(penalty(*found)) for penalty, found in calls]
        measured = [("generator_loss", loss), *([("generator_penalty", total(added))] if added else [])]
        for penalty, found in calls:
            measured += penalty.measure(*found).items()
        if labels is not None:
            class_loss = _cross_entropy(labels, class_logits)
            added.append(self.class_weights[1] * class_loss)
            measured.append(("generator_class_loss", class_loss))
        return objective(self.generator, loss, added), measured

    def _penalised(self, z, labels):
        """G(z), and what each generator penalty is called with; all that is compared goes through in one pass."""
        seeds = [self._seed(noise.Stream.GENERATOR_PENALTY, index) for index in range(len(self.generator_penalties))]
        penalties = list(zip(self.generator_penalties, seeds, strict=True))
        moved = [penalty.perturb(z, seed) if _compares(penalty) else [] for penalty, seed in penalties]
        x, *images = one_pass(self.generator, [z, *tf.nest.flatten(moved)], labels)
        generate = functools.partial(self._generate, labels=labels)
        rows = zip(penalties, moved, tf.nest.pack_sequence_as(moved, images), strict=True)
        return x, [
            (z, z_p, x, x_p) if _compares(penalty) else (generate, z, seed) for (penalty, seed), z_p, x_p in rows
        ]

    def _images(self, images):
        """A batch as float32 in [−1, 1]."""
        if self.dequantise:
            return dequantised(images, self._seed(noise.Stream.DEQUANTISATION), parts=self.d_steps)
        return to_images(images)

    def _given_labels(self, data):
        """Labels int32 [B] of a batch, also where they come as [B, 1]."""
        return None if self.num_classes is None else tf.reshape(tf.cast(labels_of(data), tf.int32), [-1])

    def _generate(self, z, labels):
        return generated(self.generator, z, labels)

    def _judge(self, images):
        """(logits, class logits or None) of the critic in training mode, in full precision."""
        outputs = self.critic(images, training=True)
        if self.class_weights is None:
            return precision.full(outputs), None
        return precision.full(outputs[0]), precision.full(outputs[1])

    def _logits(self, images, training=True):
        return self._judge(images)[0]

    def _logged(self):
        """The names of all that is logged."""
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
        """Runs the critic once, which builds it; returns the weights of the class losses, None without classes."""
        outputs = self.critic(self._examples()[1], training=False)
        classifies = isinstance(outputs, (list, tuple))
        logits, *class_logits = outputs if classifies else [outputs]
        if tuple(logits.shape) not in ((2,), (2, 1)):
            raise ValueError(f"the critic must return logits [B, 1] or [B], found {list(logits.shape)} for B = 2")
        last = (getattr(self.critic, "layers", None) or [None])[-1]
        if getattr(last, "activation", None) is keras.activations.sigmoid:
            warnings.warn("the critic ends in a sigmoid; its losses take logits, so leave that out", stacklevel=5)
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
        """The networks of which a penalty differentiates the gradient."""
        of_generator = any(not _compares(penalty) for penalty in self.generator_penalties)
        return [*[self.generator] * of_generator, *[self.critic] * bool(self.critic_penalties)]

    def _check_generator(self):
        """Warns of a generator that cannot be clamped as the paper does it; raises where its noise cannot be held."""
        compared = any(map(_compares, self.generator_penalties))
        if compared and self.replicas == 1 and not self._repeats():
            raise ValueError(
                "the generator draws noise that cannot be repeated (tf.random.normal or the like): z and z' would see "
                "other noise, and a penalty that compares their images would measure it; draw it by keras.random with "
                "a keras.random.SeedGenerator"
            )
        if compared and noise_states(self.generator) and normalises(self.generator):
            warnings.warn(
                "the generator has batch normalisation and noise of its own (dropout) both: z and z' see the same "
                "noise but are normalised apart, which lowers the quotients",
                stacklevel=4,
            )

    def _repeats(self):
        """Whether the generator, in training mode, gives the same images for the same z twice in `one_pass`."""
        z, labels = self._examples()[0], None if self.num_classes is None else tf.constant([0, self.num_classes - 1])
        before = [(variable, variable.numpy()) for variable in self.generator.non_trainable_variables]
        first, second = (precision.full(x) for x in one_pass(self.generator, [z, z], labels))
        for variable, value in before:  # moving statistics and the states of noise
            variable.assign(value)
        apart, size = (tf.norm(tf.reshape(x, [-1])).numpy() for x in (first - second, first))
        least = max(1e-3, 4.0 * geometry.inspect(self.generator, z, labels).epsilon)
        return not apart > least * size  # what is not finite is no noise


def one_pass(generator, latents, labels=None):
    """[G(z) for z in latents] from one training-mode pass over all of them together.

    Batch normalisation then sees one batch (Odena et al. 2018, section 4: two mini-batches at a time). A generator that
    draws its own noise (dropout) is instead run once for each mini-batch with the same state of its seeds, so that the
    difference of two outputs measures the step in z and not the noise. Each mini-batch has the same labels.
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


def generated(generator, z, labels):
    """G(z), or G(z, labels), in training mode."""
    functional = getattr(generator, "inputs", None)
    return generator(*([z] if labels is None else [[z, labels]] if functional else [z, labels]), training=True)


def copy(network):
    """A network of the same layers and weights, with variables of its own."""
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
    """Whether a generator penalty compares the images of neighbours; the others differentiate the generator."""
    return hasattr(penalty, "perturb")


def _penalties(name, penalties, of_generator):
    """`penalties` as a tuple of generator penalties, which can `measure`, or of critic penalties."""
    penalties = tuple(penalties) if isinstance(penalties, (list, tuple)) else (penalties,)
    for penalty in penalties:
        if isinstance(penalty, type) or not callable(penalty) or hasattr(penalty, "measure") != of_generator:
            example = "JacobianClamping()" if of_generator else "GradientPenalty()"
            raise ValueError(f"{name} must be penalty objects such as {example}, found {penalty!r}")
    return penalties
