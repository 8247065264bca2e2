"""Our side: the GAN as a run trains it, its step alone, and its `fit` with a run's callbacks."""

import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from _training import BATCH, CHECKED

from tfjc import architectures, callbacks, datasets, models, penalties
from tfjc.runs import recorder, saver
from tfjc.support import noise, replicas
from tfjc.support.noise import Stream
from tfjc.support.run_directory import RunDirectory
from tfjc.support.xla import use_xla

tf.config.experimental.enable_op_determinism()  # as in every run

WARM = 5  # steps of a `fit` before its clock starts


class Training:
    """A GAN on random images, in "float32" or, by Keras's mixed policy, in "bfloat16"."""

    def __init__(self, case, precision="float32"):
        self.case, make = case, architectures.dcgan if case.is_dcgan else architectures.wgangp_resnet
        keras.config.set_dtype_policy({"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision])
        networks = make(case.image_shape, n_z=case.n_z, channels=case.channels)
        keras.config.set_dtype_policy("float32")
        clamp = [penalties.JacobianClamping()] if case.clamped else []
        options = {} if case.is_dcgan else _wgangp(case)
        self.gan = models.GAN(*networks[:2], prior=networks.prior, generator_penalties=clamp, **options)
        rate, beta_1, beta_2, epsilon = case.adam
        self.gan.compile(*(keras.optimizers.Adam(rate, beta_1, beta_2, epsilon) for _ in range(2)))
        self.data = _data(case)
        batch = next(iter(self._batches()))
        self._step = tf.function(lambda: self.gan.train_step(batch), autograph=False, jit_compile=use_xla())
        self._example, self._callbacks = batch, None

    def _batches(self):
        return datasets.batches(self.data, BATCH * self.case.critic_steps, seed=0, start=int(self.gan.step))

    def export(self, file):
        """Writes weights, images, labels and noise of the first steps for the other frameworks; returns the losses."""
        images, labels = self._example if isinstance(self._example, tuple) else (self._example, np.zeros(0, int))
        weights = {name: _kernels(getattr(self.gan, name)) for name in ("generator", "critic")}
        arrays = {f"{name}.{i}": array for name, of in weights.items() for i, array in enumerate(of)}
        losses = []
        for step in range(CHECKED):
            arrays |= {f"{step}.{name}": drawn for name, drawn in self._noise().items()}
            self.gan.reset_metrics()
            losses.append({name: float(value) for name, value in self._step().items()})
        np.savez(file, images=images, labels=labels, **{name: len(of) for name, of in weights.items()}, **arrays)
        return losses

    def _noise(self):
        """What the next step draws."""
        gan, count = self.gan, self.case.critic_steps
        drawn = {"critic_z": [gan._latents(BATCH, k) for k in range(count)]}
        drawn["generator_z"] = gan._latents(self.case.generator_batch, count)
        seed = noise.seed(gan._seed(Stream.GENERATOR_PENALTY, 0), Stream.CLAMPING)
        drawn["directions"] = replicas.unit_directions(drawn["generator_z"].shape, seed)
        if not self.case.is_dcgan:
            given = [gan._seed(Stream.CRITIC_PENALTY, k, 0) for k in range(count)]
            seeds = [noise.seed(seed, Stream.INTERPOLATION) for seed in given]
            drawn["alpha"] = [tf.random.stateless_uniform([BATCH, 1, 1, 1], seed) for seed in seeds]
            drawn["generator_labels"] = gan._labels(self.case.generator_batch, count)
            shape = [BATCH * count, *self.case.image_shape]
            seed = gan._seed(Stream.DEQUANTISATION)
            drawn["dequantisation"] = tf.random.stateless_uniform(shape, seed, maxval=1.0 / 128.0)
        return drawn

    def step(self, count):
        """Takes steps on one batch."""
        for _ in range(count):
            losses = self._step()
        losses["critic_loss"].numpy()

    def loop(self, count):
        """Takes steps by `fit` with a run's callbacks and its input; reports seconds of a step and of an evaluation."""
        if self._callbacks is None:
            self._callbacks = _callbacks(self.gan)
        clock = _Clock()
        options = {"steps_per_epoch": count + WARM, "callbacks": [clock.first, *self._callbacks, clock], "verbose": 2}
        self.gan.fit(self._batches(), **options)
        return {"seconds": clock.seconds / count, "cpu": clock.cpu / count, "evaluation": clock.evaluation}


def _wgangp(case):
    penalty = penalties.GradientPenalty(10.0)
    return {
        "loss": "wasserstein",
        "critic_penalties": [penalty],
        "d_steps": case.critic_steps,
        "generator_batch": case.generator_batch // BATCH,
        "dequantise": True,
        "num_classes": 10,
    }


def _data(case):
    """Random images, and labels where the network takes them."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, [6400, *case.image_shape], np.uint8)
    return images if case.is_dcgan else (images, random.integers(0, 10, 6400).astype(np.int32))


def _kernels(network):
    """Kernel, bias, kernel, ... of the layers in the order in which they were made, which their seeds tell."""
    layers = [layer for layer in network._flatten_layers() if hasattr(layer, "kernel_initializer")]
    layers = [layer for layer in layers if hasattr(layer, "kernel")]
    streams = Stream.GENERATOR_WEIGHTS, Stream.CRITIC_WEIGHTS
    places = {noise.integer(0, stream, place): place for stream in streams for place in range(len(layers))}
    layers = sorted(layers, key=lambda layer: places[layer.kernel_initializer.seed])
    return [np.asarray(weight) for layer in layers for weight in (layer.kernel, layer.bias)]


def _callbacks(gan):
    """Those of `experiment.train_and_evaluate` at its defaults, which act at the end of each `fit` only."""
    run, every = RunDirectory(pathlib.Path(tempfile.mkdtemp())), 10**9
    labels = None if gan.num_classes is None else tf.range(64) % gan.num_classes
    z = gan.prior.sample(64, seed=[0, 1])
    clamping = next(iter(gan.generator_penalties), None)
    options = {"log_dir": run.tensorboard, "labels": labels}
    conditioning = callbacks.Conditioning(gan.generator, z, every, clamping=clamping, **options)
    samples = callbacks.Samples(gan.generator, z, run.samples, every, **options)
    checkpoints = saver.Checkpoints(gan, run.checkpoints, every)
    return [conditioning, samples, recorder.Recorder(run, conditioning, every), checkpoints]


class _Clock(keras.callbacks.Callback):
    """Times the steps of a `fit` after the first few, and, with `first` before the others, what callbacks do last."""

    def __init__(self):
        super().__init__()
        self.first = keras.callbacks.LambdaCallback(on_train_end=lambda logs: self._begin())

    def on_train_batch_end(self, batch, logs=None):
        if batch == WARM - 1:
            self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._now = time.perf_counter(), time.process_time()

    def _begin(self):
        self.seconds, self.cpu = self._now[0] - self._wall, self._now[1] - self._cpu
        self._began = time.perf_counter()

    def on_train_end(self, logs=None):
        self.evaluation = time.perf_counter() - self._began


def device():
    """What TensorFlow computes on."""
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
