"""A GAN whose generator can be held by penalties (Odena et al. 2018, algorithm 1)."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from tfjc import architectures, checks, datasets, losses, numerics

_PRIOR, _CRITIC_PENALTY, _PERTURBATION = 0, 1, 2  # what noise is for: a fold of its seed


class GAN(keras.Model):
    """A generator and a critic trained against each other, with penalties on either.

    A training step takes [d_steps · batch, ...] real images and makes d_steps critic updates and one generator update.
    It is a pure function of (weights, optimiser state, step, images): all noise is drawn from (seed, step, stream).

    Args:
      generator: Keras model z [B, n_z] → images in [−1, 1].
      critic: Keras model images → logits [B, 1] or [B].
      loss: name ("non_saturating", "wasserstein") or a `tfjc.losses.Loss`.
      generator_penalties: such as `JacobianClamping`; each one's mean over the batch is added to the generator's loss.
      critic_penalties: such as `GradientPenalty`; each one's mean is added to the critic's loss.
      d_steps: critic updates in a step.
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
        prior=None,
        seed=0,
        name="gan",
    ):
        super().__init__(name=name)
        self.generator, self.critic = generator, critic
        self.adversarial_loss = losses.get(loss)
        self.generator_penalties = _penalties("generator_penalties", generator_penalties, paired=True)
        self.critic_penalties = _penalties("critic_penalties", critic_penalties, paired=False)
        self.d_steps = checks.integer("d_steps", d_steps, minimum=1)
        self.prior = architectures.prior_of(generator, prior)
        self.seed = checks.integer("seed", seed, minimum=0)
        self.step = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False, name="step")
        names = ["critic_loss", "generator_loss", *self._check_networks()]
        self._trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # Keras would otherwise try to build on images, which are not the generator's input
        self.compile()

    def compile(self, generator_optimizer=None, critic_optimizer=None, *, jit_compile=None, **options):
        """Sets the optimisers, `default_optimizer` where none is given, and XLA, which `numerics.use_xla` decides.

        Raises ValueError for one optimiser given for both networks, and for Keras's own `optimizer` and `loss`.
        """
        if {"optimizer", "loss"} & options.keys():
            raise ValueError("compile takes generator_optimizer and critic_optimizer; the loss is given to GAN(loss=)")
        if isinstance(generator_optimizer, keras.Optimizer) and generator_optimizer is critic_optimizer:
            raise ValueError("generator and critic need an optimizer each, found one for both")
        options = {
            "optimizer": None,
            "jit_compile": numerics.use_xla() if jit_compile is None else jit_compile,
            **options,
        }
        super().compile(**options)
        self.generator_optimizer = keras.optimizers.get(generator_optimizer or default_optimizer())
        self.critic_optimizer = keras.optimizers.get(critic_optimizer or default_optimizer())
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.critic_optimizer.build(self.critic.trainable_variables)

    def fit(self, x=None, y=None, batch_size=None, **options):
        """Keras's `fit`, on an array of images or on a tf.data.Dataset of batches of images.

        Arrays are uint8, or floats in [−1, 1], [N, ...]. `batch_size` (at most 64 by default) counts the generator's
        samples; each step takes d_steps times as many images, in an order that is a function of the GAN's seed and
        step. A dataset gives batches of d_steps times the batch size; what is left over is not used. Labels beside the
        images are ignored. Raises ValueError for images of another kind, range, type or number.
        """
        if isinstance(x, tf.data.Dataset):
            if batch_size is not None:
                raise ValueError(f"a dataset comes in batches already, found batch_size = {batch_size}")
            for example in x.take(1):
                self._check_images(images_of(example))
            if self.d_steps > 1:  # a last batch may be too small to be split
                x = x.filter(lambda *batch: tf.shape(batch[0])[0] >= self.d_steps)
        elif hasattr(x, "__array__"):
            images = self._check_images(x)
            batch_size = min(64, len(images) // self.d_steps) if batch_size is None else batch_size
            batch = self.d_steps * checks.integer("batch_size", batch_size, minimum=1)
            options.setdefault("steps_per_epoch", max(1, len(images) // batch))
            x = datasets.batches(images, batch, seed=self.seed, start=int(self.step))
        else:
            raise ValueError(f"images must be an array or a tf.data.Dataset, found {type(x).__name__}")
        return super().fit(x, **{"shuffle": False, **options})  # the data are in their order already

    def train_step(self, data):
        """Algorithm 1: d_steps critic updates, each on its own part of the images, then one generator update."""
        images = numerics.to_images(images_of(data))
        batch_size = tf.shape(images)[0] // self.d_steps
        with tf.control_dependencies([images]):  # Keras ends a dataset of unknown length with a step that gets none
            for k, real in enumerate(tf.split(images[: batch_size * self.d_steps], self.d_steps)):
                self._update_critic(real, stream=k)
            self._update_generator(batch_size, stream=self.d_steps)
            self.step.assign_add(1)
        return {name: tracker.result() for name, tracker in self._trackers.items()}

    def _update_critic(self, real, stream):
        fake = self.generator(self._latents(tf.shape(real)[0], stream), training=True)
        with tf.GradientTape() as tape:
            objective, measured = self._critic_objective(real, fake, stream)
            objective = self.critic_optimizer.scale_loss(objective)
        self._descend(tape, objective, self.critic, self.critic_optimizer)
        self._track(measured)

    def _update_generator(self, batch_size, stream):
        with tf.GradientTape() as tape:
            objective, measured = self._generator_objective(batch_size, stream)
            objective = self.generator_optimizer.scale_loss(objective)
        self._descend(tape, objective, self.generator, self.generator_optimizer)
        self._track(measured)

    def _critic_objective(self, real, fake, stream):
        """What the critic minimises, and the (name, value) pairs that are logged of it."""
        loss = tf.reduce_mean(self.adversarial_loss.real(self._logits(real)))
        loss += tf.reduce_mean(self.adversarial_loss.fake(self._logits(fake)))
        added = [
            tf.reduce_mean(penalty(self.critic, real, fake, self._seed(stream, _CRITIC_PENALTY, index)))
            for index, penalty in enumerate(self.critic_penalties)
        ]
        measured = [("critic_loss", loss), *([("critic_penalty", tf.add_n(added))] if added else [])]
        return _objective(self.critic, loss, added), measured

    def _generator_objective(self, batch_size, stream):
        """What the generator minimises on new latents, and the (name, value) pairs that are logged of it."""
        z = self._latents(batch_size, stream)
        perturbed = [
            penalty.perturb(z, self._seed(stream, _PERTURBATION, index))
            for index, penalty in enumerate(self.generator_penalties)
        ]
        x, *x_perturbed = one_pass(self.generator, [z, *perturbed])
        loss = tf.reduce_mean(self.adversarial_loss.generator(self._logits(x)))
        pairs = [(z, z_p, x, x_p) for z_p, x_p in zip(perturbed, x_perturbed, strict=True)]
        added = [tf.reduce_mean(p(*pair)) for p, pair in zip(self.generator_penalties, pairs, strict=True)]
        measured = [("generator_loss", loss), *([("generator_penalty", tf.add_n(added))] if added else [])]
        for penalty, pair in zip(self.generator_penalties, pairs, strict=True):
            measured += penalty.measure(*pair).items()
        return _objective(self.generator, loss, added), measured

    def _logits(self, images):
        return numerics.full(self.critic(images, training=True))

    def _latents(self, batch_size, stream):
        return self.prior.sample(batch_size, seed=self._seed(stream, _PRIOR, 0))

    def _seed(self, stream, purpose, index):
        return numerics.fold([self.seed, stream], purpose, index, self.step)

    def _descend(self, tape, loss, network, optimizer):
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    def _track(self, measured):
        """Adds each (name, value) to the mean that is logged under the name and starts anew every epoch."""
        for name, value in measured:
            self._trackers[name].update_state(value)

    @property
    def metrics(self):
        """The running means that `fit` logs; Keras resets them when an epoch begins."""
        return list(self._trackers.values())

    def _check_networks(self):
        """Runs both networks once (which builds them) and returns the names of the penalties' scalars."""
        z = self.prior.sample(2, seed=[0, 0])
        images = self.generator(z, training=False)
        logits = self.critic(images, training=False)
        if tuple(logits.shape) not in ((2,), (2, 1)):
            raise ValueError(f"the critic must return logits [B, 1] or [B], found {list(logits.shape)} for B = 2")
        self.image_shape = tuple(images.shape[1:])
        last = (getattr(self.critic, "layers", None) or [None])[-1]
        if getattr(last, "activation", None) is keras.activations.sigmoid:
            warnings.warn("the critic ends in a sigmoid; its losses take logits, so leave that out", stacklevel=4)
        if self.generator_penalties and _noise_states(self.generator) and _normalises(self.generator):
            warnings.warn(
                "the generator has batch normalisation and noise of its own (dropout) both: z and z' see the same "
                "noise but are normalised apart, which lowers the quotients",
                stacklevel=4,
            )
        measured = [penalty.measure(z, z + 1.0, images, images) for penalty in self.generator_penalties]
        totals = ["generator_penalty"] * bool(measured) + ["critic_penalty"] * bool(self.critic_penalties)
        return [*totals, *(name for scalars in measured for name in scalars)]

    def _check_images(self, images):
        images = datasets.check_images(images)
        if images.shape[1:] != self.image_shape:
            hint = "; was .batch(n) forgotten?" if images.shape == self.image_shape else ""
            raise ValueError(f"the generator makes images {self.image_shape}, the data's are {images.shape[1:]}{hint}")
        if len(images) < self.d_steps:
            raise ValueError(f"d_steps = {self.d_steps} needs as many images at least, found {len(images)}")
        if images.dtype != np.uint8 and images.min() >= 0:
            warnings.warn("the images are floats without a negative value; [-1, 1] is expected", stacklevel=3)
        return images


def default_optimizer():
    """Adam(2e-4, β₁ 0.5), DCGAN's (Radford et al. 2016, section 4)."""
    return keras.optimizers.Adam(2e-4, beta_1=0.5)


def one_pass(generator, latents):
    """[G(z) for z in latents] from one training-mode pass over all of them together.

    Batch normalisation then sees one batch (Odena et al. 2018, section 4: two mini-batches at a time). A generator that
    draws its own noise (dropout) is instead run once for each mini-batch with the same state of its seeds, so that the
    difference of two outputs measures the step in z and not the noise.
    """
    states = _noise_states(generator)
    if not states or len(latents) == 1:
        return tf.split(generator(tf.concat(latents, axis=0), training=True), len(latents))
    before = [tf.identity(state.value) for state in states]
    outputs = []
    for z in latents:
        for state, value in zip(states, before, strict=True):
            state.assign(value)
        outputs.append(generator(z, training=True))
    return outputs


def _noise_states(generator):
    """The states of the seeds that a network's layers draw noise from: its variables that are no weights."""
    weights = {id(v) for v in generator.weights}
    return [v for v in generator.non_trainable_variables if id(v) not in weights]


def _normalises(network):
    return any("moving_mean" in v.path for v in network.non_trainable_variables)


def _objective(network, loss, added):
    """The loss with its penalties and the weights' own regularisers."""
    weights = [v.regularizer(v) for v in network.trainable_variables if v.regularizer]
    return tf.add_n([tf.cast(term, loss.dtype) for term in (loss, *added, *weights)])


def images_of(data):
    """The images of a batch as Keras hands it over: alone, or first of a tuple; raises ValueError for a dict."""
    if isinstance(data, dict):
        raise ValueError(
            f"a dataset of images is needed, found dicts with the keys {sorted(data)}; map it to its images"
        )
    return data[0] if isinstance(data, (tuple, list)) else data


def _penalties(name, penalties, paired):
    """`penalties` as a tuple of generator penalties, which compare pairs of images, or of critic penalties."""
    penalties = tuple(penalties) if isinstance(penalties, (list, tuple)) else (penalties,)
    for penalty in penalties:
        if isinstance(penalty, type) or not callable(penalty) or hasattr(penalty, "perturb") != paired:
            example = "JacobianClamping()" if paired else "GradientPenalty()"
            raise ValueError(f"{name} must be penalty objects such as {example}, found {penalty!r}")
    return penalties
