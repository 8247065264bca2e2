"""The base class of the models: steps, noise by seed and step, running means, optimisers, and `fit` on images."""

import functools
import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc import architectures, datasets, geometry
from tfjc.models._layers import warn_of_replicas
from tfjc.models._watch import Watch
from tfjc.support import checks, keras_models, noise, replicas
from tfjc.support.xla import use_xla

Batch: TypeAlias = tf.Tensor | tuple[tf.Tensor, ...]  # images, or (images, labels)
Measured: TypeAlias = list[tuple[str, tf.Tensor]]  # (name, scalar) of a step


class GenerativeModel(keras.Model):
    """A generator, and possibly a second network, trained on batches of images.

    A training step is a pure function of (weights, optimiser state, step, images): all noise is drawn from
    (seed, stream, step). A subclass defines `train_step` and calls `_ready` at the end of `__init__`.

    Args:
      generator: Keras model z [B, n_z] → images in [−1, 1]; with `num_classes`, (z, labels) → images.
      critic: the second network, or None.
      num_classes: the number of classes of a class-conditional generator's labels, int [B]; None for other generators.
      prior: distribution over latents [n_z] (`architectures.Prior`); by default N(0, I) of the generator's input size.
      seed: seed of all noise in training.

    Attributes:
      step: the number of steps made, a weight.
      image_shape: the shape of one image.
      images_per_sample: images that a step takes for each of the `batch_size` samples of an update.

    Raises:
      ValueError: the generator is not of this kind, or an argument is out of range.
    """

    images_per_sample = 1
    train_function: Any  # set by Keras

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model | None = None,
        *,
        num_classes: int | None = None,
        prior: architectures.Prior | None = None,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.generator, self.critic = check_network("generator", generator), critic
        if critic is not None:
            check_network("critic", critic)
        self.num_classes = None if num_classes is None else checks.integer("num_classes", num_classes, minimum=2)
        self._check_labelled()
        self.prior = architectures.prior_of(generator, prior)
        self.seed = checks.seed("seed", seed)
        self.step = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False, name="step")
        self.watch = Watch(generator=generator, critic=critic)
        self.image_shape = tuple(self._examples()[1].shape[1:])
        self.replicas = replicas.count()
        warn_of_replicas([generator, critic])

    def _ready(self, names: Iterable[str]) -> None:
        """Makes the running means that are logged under `names`, and compiles the model."""
        self._trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # otherwise Keras would build the generator on images
        self.compile()

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer | str | None = None,
        critic_optimizer: keras.optimizers.Optimizer | str | None = None,
        *,
        jit_compile: bool | None = None,
        **options: Any,
    ) -> None:
        """Sets the optimisers and whether XLA compiles a step.

        Args:
          generator_optimizer: optimiser of the generator; `default_optimizer()` by default.
          critic_optimizer: optimiser of the second network; `default_optimizer()` by default.
          jit_compile: whether XLA compiles a step; `xla.use_xla()` by default.
          options: other options of Keras's `compile`, except `optimizer` and `loss`.

        Raises:
          ValueError: both networks get one optimiser; an option is unknown, or `optimizer` or `loss`; or XLA or several
            steps per execution are asked for with several replicas.
        """
        taken = inspect.signature(keras.Model.compile).parameters.keys() - {"optimizer", "loss"}
        if options.keys() - taken:
            raise ValueError(
                "compile takes generator_optimizer and critic_optimizer, and the model defines its own loss; found "
                + ", ".join(sorted(options.keys() - taken))
            )
        if isinstance(generator_optimizer, keras.Optimizer) and generator_optimizer is critic_optimizer:
            raise ValueError("generator and critic need an optimizer each, found one for both")
        if self.replicas > 1 and jit_compile:
            raise ValueError(
                f"XLA compiles for one device, found jit_compile={jit_compile} with {self.replicas} replicas"
            )
        if self.replicas > 1 and options.get("steps_per_execution", 1) != 1:
            raise ValueError(
                f"Keras's loop over several steps does not work with several replicas, found steps_per_execution = "
                f"{options['steps_per_execution']} with {self.replicas} replicas"
            )
        jit_compile = use_xla() if jit_compile is None else jit_compile
        super().compile(**{"optimizer": None, "jit_compile": jit_compile, **options})
        self.generator_optimizer = self._optimizer(generator_optimizer, self.generator)
        if self.critic is not None:
            self.critic_optimizer = self._optimizer(critic_optimizer, self.critic)

    def _optimizer(self, optimizer, network):
        """An optimiser with its state built. A network that computes in float16 gets one that scales losses."""
        try:
            optimizer = keras.optimizers.get(default_optimizer() if optimizer is None else optimizer)
        except ValueError as error:
            raise ValueError(f"an optimiser must be Keras's, or its name, found {optimizer!r}") from error
        check_hyperparameters(optimizer)
        half = any(layer.compute_dtype == "float16" for layer in network._flatten_layers())
        if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        with self.distribute_strategy.scope():
            optimizer.build(network.trainable_variables)
        return optimizer

    @property
    def jit_compile(self) -> bool:
        """Whether XLA compiles a step, as `compile` was told.

        Keras's own property turns XLA off where operations must be deterministic (`enable_op_determinism`).
        """
        return self._jit_compile

    @jit_compile.setter
    def jit_compile(self, value):
        self._jit_compile = value

    def make_train_function(self, force: bool = False) -> Any:
        """Keras's function of one or several steps; raises `Diverged` if a tensor of a step is not finite."""
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = self.watch.after(self.train_function)
        return self.train_function

    def fit(
        self,
        x: np.ndarray | tf.data.Dataset | None = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> keras.callbacks.History:
        """Keras's `fit` on an array of images or on a `tf.data.Dataset`.

        Arrays are batched in an order that depends on seed and step alone. A step takes `batch_size` times
        `images_per_sample` images (`d_steps` of a GAN). The step is read when training takes the first batch, so that a
        callback that restores the model (Keras's BackupAndRestore) also restores the order.

        A dataset keeps its own order. It gives batches of images, or of (images, labels), of `images_per_sample` times
        the batch size. Its first batch is checked. Images of a batch that do not divide evenly are not used. An
        unconditional generator ignores the labels.

        Args:
          x: images [N, ...], uint8 or floats in [−1, 1]; or a dataset of batches.
          y: labels [N], whole numbers, of a class-conditional generator's images.
          batch_size: samples of one update; at most 64 by default.
          options: other options of Keras's `fit`.

        Raises:
          ValueError: images or labels have the wrong kind, range, type or number; or an option or a callback is for
            models of one loss and one optimiser.
        """
        _check_options(options)
        if isinstance(x, tf.data.Dataset):
            if batch_size is not None:
                raise ValueError(f"a dataset comes in batches already, found batch_size = {batch_size}")
            if y is not None:
                raise ValueError("a dataset brings its labels along, as (images, labels); found y beside it")
            first = next(iter(x.take(1)), None)
            if first is None:
                raise ValueError("a dataset must give at least one batch, found none")
            self._check_images(images_of(first))
            self._check_labels(labels_of(first))
            smallest = self.images_per_sample * self.replicas
            if smallest > 1:  # a last batch may be too small to be split
                x = x.filter(lambda *batch: tf.shape(batch[0])[0] >= smallest)
        elif hasattr(x, "__array__"):
            x, options = self._arrays(x, y, batch_size, options)
        else:
            raise ValueError(f"images must be an array or a tf.data.Dataset, found {type(x).__name__}")
        x = x if self.replicas == 1 else self._by_replica(x)
        return super().fit(x, **{"shuffle": False, **options})  # the data are in order already

    def call(self, *_: Any, **__: Any) -> Any:
        """Refuses: the networks are called, not their pair."""
        raise ValueError("call a network of the model instead: model.generator(z), or model.critic(images)")

    def predict(self, *_: Any, **__: Any) -> Any:
        """Refuses: a generator predicts, not the pair of networks."""
        raise ValueError("predict with the generator instead: model.generator.predict(z)")

    predict_on_batch = predict

    def evaluate(self, *_: Any, **__: Any) -> Any:
        """Refuses: there is no loss that says how good a generator is."""
        raise ValueError(_SCORES)

    test_on_batch = evaluate

    def save(self, *_: Any, **__: Any) -> None:
        """Refuses: Keras cannot rebuild the pair of networks from a file."""
        raise ValueError(_SAVE)

    export = save

    def get_config(self) -> dict[str, Any]:
        """Refuses as `save` does. Keras needs it to write the model as text, to clone it, and to copy it."""
        raise ValueError(_SAVE)

    def _by_replica(self, batches):
        """Batches reordered so that updates see the same rows as without replicas; a replica gets consecutive rows.

        Rows that do not divide evenly are dropped.
        """
        parts, replicas = self.images_per_sample, self.replicas

        def arranged(tensor):
            size = (tensor.shape[0] or tf.shape(tensor)[0]) // (parts * replicas)
            order = tf.reshape(tf.range(parts * replicas * size), [parts, replicas, size])
            return tf.gather(tensor, tf.reshape(tf.transpose(order, [1, 0, 2]), [parts * replicas * size]))

        def rearrange(*batch):
            return tf.nest.map_structure(arranged, batch if len(batch) > 1 else batch[0])

        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return batches.map(rearrange).with_options(options)

    def _arrays(self, images, labels, batch_size, options):
        """Batches of arrays from the model's step on, and the options of `fit`."""
        images = self._check_images(images)
        if labels is not None and self.num_classes is None:
            raise ValueError(f"labels {list(np.shape(labels))} were given, but the generator takes latents alone")
        labels = self._check_labels(labels, len(images))
        if batch_size is None:
            batch_size = min(64, len(images) // self.images_per_sample)
            batch_size = max(self.replicas, batch_size - batch_size % self.replicas)
        batch = self.images_per_sample * self.check_batch_size("batch_size", batch_size)
        arrays = images if labels is None else (images, labels)
        batches = self._batches(arrays, batch)
        return batches, {"steps_per_epoch": max(1, len(images) // batch), **options}

    def _batches(self, arrays, batch):
        """Batches of arrays from the model's step on. The step is read when training takes the first batch.

        Callbacks may set the step after `fit` was called, as Keras's BackupAndRestore does in `on_train_begin`.
        """
        return datasets.batches(arrays, batch, seed=self.seed, start=lambda: int(self.step.numpy()))

    def check_batch_size(self, name: str, batch_size: int) -> int:
        """`batch_size`, which must be a multiple of the number of replicas.

        Raises:
          ValueError: it is not, or it is not a whole number of 1 or more. The message calls it `name`.
        """
        return checks.divisible(name, checks.integer(name, batch_size, minimum=1), self.replicas, "replicas")

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing, because the networks are built already.

        Under a strategy Keras's own method would take a batch and average it over replicas.
        """

    def training_data(self, data: datasets.Dataset) -> Any:
        """The arrays of `data` that this model trains on, for `datasets.batches`: images, or (images, labels).

        Raises:
          ValueError: images or labels do not fit the networks; the message names both.
        """
        if tuple(data.image_shape) != self.image_shape:
            raise ValueError(
                f"the generator makes images {list(self.image_shape)}, "
                f"those of dataset {data.name!r} are {list(data.image_shape)}"
            )
        if self.num_classes is None:
            return data.images
        labels = self._check_labels(data.labels, len(data.images), f"dataset {data.name!r}")
        if labels.max() != self.num_classes - 1:
            raise ValueError(
                f"the generator is conditional on {self.num_classes} classes, dataset {data.name!r} has labels 0 to "
                f"{labels.max()}"
            )
        return data.images, labels

    @property
    def known_latents(self) -> dict[str, tf.Tensor]:
        """{name: latents [N, n_z]} that evaluators score as well; the names of these scores begin with `name_`."""
        return {}

    @property
    def evaluated_generator(self) -> keras.Model:
        """The generator that is measured, sampled and exported."""
        return self.generator

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means that `fit` logs. Keras resets them at the start of each epoch."""
        return list(self._trackers.values())

    def _latents(self, batch_size, update):
        """Latents [B, n_z] drawn from the prior; `update` is the number of the update within the step."""
        seed = self._seed(noise.Stream.TRAINING_LATENTS, update)
        return replicas.rows(lambda shape: self.prior.sample(shape[0], seed=seed), [batch_size])

    def _labels(self, batch_size, update):
        """Labels [B], drawn uniformly, for a class-conditional generator; else None."""
        if self.num_classes is None:
            return None
        seed = self._seed(noise.Stream.TRAINING_LABELS, update)
        return replicas.rows(functools.partial(self._uniform_labels, seed=seed), [batch_size])

    def _uniform_labels(self, shape, seed):
        return tf.random.stateless_uniform(shape, seed=seed, maxval=self.num_classes, dtype=tf.int32)

    def _seed(self, stream, *indices):
        """The seed of this step's draw from a stream; `indices` distinguish several draws."""
        return noise.seed(self.seed, stream, *indices, self.step)

    def _descend(self, tape, loss, network, optimizer):
        variables = network.trainable_variables
        self._apply(optimizer, tape.gradient(loss, variables), variables)

    def _apply(self, optimizer, gradients, variables):
        """Updates variables by the mean over replicas of the gradients."""
        # Dense, because Adam would square the rows of an embedding's sparse gradient one by one.
        gradients = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
        if self.replicas > 1:  # the optimiser adds up the replicas' gradients
            # A LossScaleOptimizer checks only the first replica's gradients.
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                gradients = replicas.mean(gradients)
            gradients = [g if g is None else g / self.replicas for g in gradients]
        optimizer.apply(_together(gradients), variables)
        self.watch.look_at_update(optimizer, gradients, variables)

    def _track(self, measured):
        """Adds each (name, value) to the running mean of that name."""
        self.watch.look(measured)
        for name, value in measured:
            self._trackers[name].update_state(value)

    def _results(self):
        """The return value of a step: the running means. All of the step's tensors have been checked."""
        self.watch.close(self.step)
        # With several workers Keras averages a step's results over their first axis, which scalars lack.
        workers = isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        axes = [1] if workers and self.replicas > 1 else []
        return {name: tf.reshape(tracker.result(), axes) for name, tracker in self._trackers.items()}

    def _examples(self):
        """Two latents and their images. The first call builds the generator."""
        z = self.prior.sample(2, seed=noise.seed(0, noise.Stream.EXAMPLES))
        return z, self._infer(z)

    def _infer(self, z, training=False):
        """The images of two latents in inference mode; their labels are the first and the last class.

        Penalties may pass `training`, which is ignored here: a pass in training mode moves batch statistics.
        """
        if self.num_classes is None:
            return geometry.run(self.generator, z)
        try:
            return geometry.run(self.generator, z, tf.constant([0, self.num_classes - 1]))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"the generator does not take labels 0 to {self.num_classes - 1} (num_classes = {self.num_classes}): "
                f"{geometry.summary(error)}"
            ) from error

    def _check_labelled(self):
        """Raises ValueError where the generator takes labels and `num_classes` is None, or the reverse."""
        inputs = getattr(self.generator, "inputs", None)
        if inputs and len(inputs) == 2 and self.num_classes is None:
            raise ValueError("the generator takes labels beside z: say how many classes (num_classes)")
        if inputs and len(inputs) == 1 and self.num_classes is not None:
            raise ValueError(f"num_classes = {self.num_classes}, but the generator takes latents alone")

    def _check_images(self, images):
        images = datasets.check_images(images)
        if images.shape[1:] != self.image_shape:
            hint = "; was .batch(n) forgotten?" if images.shape == self.image_shape else ""
            raise ValueError(f"the generator makes images {self.image_shape}, the data's are {images.shape[1:]}{hint}")
        if images.dtype != np.uint8 and images.min() >= 0:
            warnings.warn("the images are floats without a negative value; [-1, 1] is expected", stacklevel=3)
        return images

    def _check_labels(self, labels, count=None, of="the data"):
        """Labels as int32 [N] for a class-conditional generator; else None."""
        if self.num_classes is None:
            return None
        if labels is None:
            raise ValueError(f"the generator is conditional on {self.num_classes} classes, but {of} has no labels")
        return datasets.check_labels(labels, self.num_classes, count)


def _together(gradients):
    """The gradients, none of which is available before all of them are.

    Keras passes the gradients through one IdentityN. Where any gradient needs the value of a weight, TensorFlow's
    graph optimizer then drops the control edge that orders the read of the weight before its update. Later it removes
    the IdentityN as well. A read that the weight's own gradient does not need, such as the read of a bias by a penalty
    on slopes, could then come after the update.
    """
    with tf.control_dependencies([tf.group(*(g for g in gradients if g is not None))]):
        return [g if g is None else tf.identity(g) for g in gradients]


_SCORES = (
    "losses of validation images do not say how good a generator is: pass "
    "callbacks=[tfjc.callbacks.Scores(model.generator, evaluator)] to fit, or call evaluator(model.generator)"
)
_SAVE = (
    "the model cannot be saved whole: save its networks (model.generator.save('generator.keras'), "
    "tfjc.saving.export_generator), its weights (model.save_weights('x.weights.h5'), or "
    "keras.callbacks.ModelCheckpoint with save_weights_only=True), or use keras.callbacks.BackupAndRestore to go on"
)
_RATES = (
    "sets the learning rate of one optimizer, and the model has two: give each its own schedule, such as "
    "model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-4, 10_000)), critic_optimizer)"
)


def _check_options(options):
    """Raises ValueError for options and callbacks of `fit` that are for models of one loss and one optimiser."""
    if options.get("validation_data") is not None or options.get("validation_split"):
        raise ValueError(_SCORES)
    for name in ("class_weight", "sample_weight"):
        if options.get(name) is not None:
            raise ValueError(f"the losses of the model weigh all images alike, found {name}")
    if options.get("steps_per_epoch") is not None:  # of 0 steps, Keras makes an epoch without end
        checks.integer("steps_per_epoch", options["steps_per_epoch"], minimum=1)
    given = options.get("callbacks") or []
    for callback in given if isinstance(given, (list, tuple)) else getattr(given, "callbacks", [given]):
        if isinstance(callback, (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)):
            raise ValueError(f"{type(callback).__name__} {_RATES}")
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
            raise ValueError(_SAVE)


def check_hyperparameters(optimizer: keras.optimizers.Optimizer) -> None:
    """Checks rates and moments that Keras accepts but no training survives.

    Raises:
      ValueError: a rate is negative or not finite, or a moment is 1 or more.
    """
    for name in ("beta_1", "beta_2", "rho", "momentum"):
        if getattr(optimizer, name, None) is not None:
            checks.real(name, getattr(optimizer, name), minimum=0.0, below=1.0)
    if getattr(optimizer, "epsilon", None) is not None:
        checks.real("epsilon", optimizer.epsilon, minimum=0.0)
    rate: Any = getattr(optimizer, "_learning_rate", None)
    try:
        rate = rate(0) if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else rate
    except (ValueError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise ValueError(f"the learning rate's schedule must give a number, found {rate.get_config()}") from error
    if not callable(rate):
        checks.real("learning_rate", float(np.asarray(rate)), minimum=0.0)


def check_network(name: str, network: keras.Model) -> keras.Model:
    """`network`, which must be a model of Keras 3."""
    if keras_models.library(network) is not keras:
        raise ValueError(
            f"{name} must be a model of Keras 3, found a {type(network).__name__} of Keras 2 (tf_keras): build it with "
            "keras.layers. tfjc.callbacks.Conditioning watches it in its own fit"
        )
    if not isinstance(network, keras.Layer):
        raise ValueError(f"{name} must be a Keras model, found {network!r} ({type(network).__name__})")
    return network


def default_optimizer() -> keras.optimizers.Optimizer:
    """Adam(2e-4, β₁ = 0.5, ε = 1e-8) of DCGAN (Radford et al. 2016, section 4; ε as in carpedm20's TensorFlow code)."""
    return keras.optimizers.Adam(2e-4, beta_1=0.5, epsilon=1e-8)


def images_of(data: Batch | Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The images of a batch: the batch itself, or the first entry of a tuple.

    Raises:
      ValueError: the batch is a dict.
    """
    if isinstance(data, dict):
        raise ValueError(
            f"a dataset of images is needed, found dicts with the keys {sorted(data)}; map it to its images"
        )
    return data[0] if isinstance(data, (tuple, list)) else data


def labels_of(data: Batch) -> tf.Tensor | None:
    """The labels of a batch: the second entry of a tuple, or None."""
    return data[1] if isinstance(data, (tuple, list)) and len(data) > 1 else None


def objective(network: keras.Model, loss: tf.Tensor, added: Sequence[tf.Tensor]) -> tf.Tensor:
    """The sum of a loss, the terms added to it, and the regularisers of the network's weights."""
    weights = [v.regularizer(v) for v in network.trainable_variables if v.regularizer]
    return total([loss, *added, *weights])


def total(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    """The sum of scalars, in the type of the first one."""
    return tf.add_n([tf.cast(term, terms[0].dtype) for term in terms])
