"""Trained generators as SavedModels that need none of our code."""

import os
import pathlib
import shutil

import tensorflow as tf

from tfjc import architectures, geometry
from tfjc.support import checks, noise
from tfjc.support.files import sync
from tfjc.support.images import to_uint8


def export_generator(generator, path, *, prior=None, num_classes=None):
    """Writes a Keras generator z [B, n_z] → images as a SavedModel with three signatures, and returns its path.

    A class-conditional one takes labels int32 [B] beside z: `serve(z, labels)`, `metric_tensor(z, labels)`, and
    `sample` draws them uniformly.

    - `serve(z)`: float32 [B, n_z] → float32 images [B, ...] in [−1, 1], in inference mode, whatever the dtype policy;
    - `sample(n, seed)`: int32 scalars → uint8 images [n, ...] for latents drawn from the prior;
    - `metric_tensor(z)`: float32 [B, n_z] → M_z = J_zᵀJ_z, float64 [B, n_z, n_z].

    Args:
      generator: built Keras model with one latent [B, n_z] as input; with `num_classes`, of latents and labels.
      path: directory to write; a SavedModel that is there is replaced.
      prior: TensorFlow Probability distribution over latents [n_z]; N(0, I) of the generator's input size by default.
      num_classes: classes of a class-conditional generator.

    Raises:
      ValueError: the generator is not built or its input not [B, n_z], or there is something else at `path`.
    """
    path = pathlib.Path(path)
    if path.exists() and not (path / "saved_model.pb").exists() and (path.is_file() or any(path.iterdir())):
        raise ValueError(f"{path} is there and is not a SavedModel, so it is not replaced")
    if not getattr(generator, "built", False):
        raise ValueError("export needs a Keras generator that is built: call it once on latents [B, n_z]")
    if len(getattr(generator, "inputs", None) or [0, *[0] * bool(num_classes)]) != 1 + bool(num_classes):
        raise ValueError(f"the generator has {len(generator.inputs)} inputs, found num_classes = {num_classes}")
    prior = architectures.prior_of(generator, prior)
    if len(prior.event_shape) != 1:
        raise ValueError(f"prior must be over latents [n_z], found event shape {list(prior.event_shape)}")
    n_z = prior.event_shape[0]

    def serve(*latents):
        return tf.cast(geometry.run(generator, *latents), tf.float32)

    def sample(n, seed):
        z = prior.sample(n, seed=noise.seed(seed, noise.Stream.SERVED_LATENTS))
        return to_uint8(serve(z, *_drawn(n, seed, num_classes)))

    def metric_tensor(z, *labels):
        return geometry.metric_tensor(generator, z, labels=labels[0] if labels else None)

    latents, scalar = [tf.TensorSpec([None, n_z], tf.float32, name="z")], tf.TensorSpec([], tf.int32)
    latents += [tf.TensorSpec([None], tf.int32, name="labels")] * (num_classes is not None)
    example = prior.sample(1, seed=noise.seed(0, noise.Stream.EXAMPLES))
    metric_tensor(example, *_drawn(1, 0, num_classes))  # chooses the method, which a trace cannot do
    module = tf.Module()  # keras.export.ExportArchive would trace each function twice
    module.generator, module.prior = generator, list(getattr(prior, "variables", []))  # what the functions read
    module.serve = serve = tf.function(serve, latents, autograph=False)
    module.sample = tf.function(sample, [scalar, scalar], autograph=False)
    module.metric_tensor = tf.function(metric_tensor, latents, autograph=False)
    return _write(module, path)


def _drawn(n, seed, num_classes):
    """[labels [n] drawn uniformly], or nothing for a generator without labels."""
    if num_classes is None:
        return []
    seed = noise.seed(seed, noise.Stream.SERVED_LABELS)
    return [tf.random.stateless_uniform([n], seed, maxval=num_classes, dtype=tf.int32)]


def _write(module, path):
    """Writes beside `path` first, so that what stands at `path` is a whole SavedModel."""
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}.tmp") for kind in ("new", "old"))
    try:
        signatures = {name: getattr(module, name) for name in ("serve", "sample", "metric_tensor")}
        tf.saved_model.save(module, os.fspath(new), {**signatures, "serving_default": module.serve})
        for written in [*new.rglob("*"), new]:
            sync(written)
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return path


def load_generator(path):
    """The generator that `export_generator` wrote, as a `LoadedGenerator`; raises ValueError for anything else."""
    path = os.fspath(path)
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(f"{path} is not a SavedModel directory: it has no saved_model.pb")
    return LoadedGenerator(tf.saved_model.load(path), path)


class LoadedGenerator(geometry.Frozen):
    """A generator z → images from a SavedModel, with `sample` and `metric_tensor` as in `export_generator`."""

    def __init__(self, archive, path):
        super().__init__()
        missing = [name for name in ("serve", "sample", "metric_tensor") if not hasattr(archive, name)]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}: it was not written by export_generator")
        self._archive = archive

    def __call__(self, z, *labels):
        """Images [B, ...] in [−1, 1] for z float32 [B, n_z] (and labels [B]); ValueError for z of another shape."""
        return self._archive.serve(_latents(z), *_labels(labels))

    def sample(self, n, seed=0):
        """n images of the prior, uint8 [n, ...]."""
        return self._archive.sample(tf.constant(n), tf.constant(seed))

    def metric_tensor(self, z, *labels):
        """M_z = J_zᵀJ_z, float64 [B, n_z, n_z], for latents z [B, n_z], with labels [B] as `__call__` takes them."""
        return self._archive.metric_tensor(_latents(z), *_labels(labels))


def _labels(labels):
    return [tf.cast(entry, tf.int32) for entry in labels]


def _latents(z):
    return checks.rank("z", tf.cast(z, tf.float32), 2, "[B, n_z]")
