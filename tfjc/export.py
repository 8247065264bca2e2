"""Trained generators as SavedModels that need none of our code."""

import os
import pathlib
import shutil

import keras
import tensorflow as tf

from tfjc import architectures, checks, jacobian, numerics


def export_generator(generator, path, *, prior=None):
    """Writes a Keras generator z [B, n_z] → images as a SavedModel with three signatures, and returns its path.

    - `serve(z)`: float32 [B, n_z] → float32 images [B, ...] in [−1, 1], in inference mode;
    - `sample(n, seed)`: int32 scalars → uint8 images [n, ...] for latents drawn from the prior;
    - `metric_tensor(z)`: float32 [B, n_z] → M_z = J_zᵀJ_z, float64 [B, n_z, n_z].

    Args:
      generator: built Keras model with one latent [B, n_z] as input.
      path: directory to write; a SavedModel that is there is replaced.
      prior: TensorFlow Probability distribution over latents [n_z]; N(0, I) of the generator's input size by default.

    Raises:
      ValueError: the generator is not built or its input not [B, n_z], or there is something else at `path`.
    """
    path = pathlib.Path(path)
    if path.exists() and not (path / "saved_model.pb").exists() and (path.is_file() or any(path.iterdir())):
        raise ValueError(f"{path} is there and is not a SavedModel, so it is not replaced")
    if not getattr(generator, "built", False):
        raise ValueError("export needs a Keras generator that is built: call it once on latents [B, n_z]")
    prior = architectures.prior_of(generator, prior)
    if len(prior.event_shape) != 1:
        raise ValueError(f"prior must be over latents [n_z], found event shape {list(prior.event_shape)}")
    n_z = prior.event_shape[0]

    def serve(z):
        return generator(z, training=False)

    def sample(n, seed):
        return numerics.to_uint8(serve(prior.sample(n, seed=tf.stack([seed, 0]))))

    latents, scalar = tf.TensorSpec([None, n_z], tf.float32, name="z"), tf.TensorSpec([], tf.int32)
    jacobian.jacobian(generator, prior.sample(1, seed=0))  # settles by which method, which a trace alone could not
    archive = keras.export.ExportArchive()
    archive.track(generator)
    archive.add_endpoint("serve", serve, [latents])
    archive.add_endpoint("sample", sample, [scalar, scalar])
    archive.add_endpoint("metric_tensor", lambda z: jacobian.metric_tensor(generator, z), [latents])
    return _write(archive, path)


def _write(archive, path):
    """Writes beside `path` first, so that what stands at `path` is a whole SavedModel."""
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}.tmp") for kind in ("new", "old"))
    archive.write_out(os.fspath(new), verbose=False)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)
    return path


def load_generator(path):
    """The generator that `export_generator` wrote, as a `LoadedGenerator`; raises ValueError for anything else."""
    path = os.fspath(path)
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(f"{path} is not a SavedModel directory: it has no saved_model.pb")
    return LoadedGenerator(tf.saved_model.load(path), path)


class LoadedGenerator(jacobian.Frozen):
    """A generator z → images from a SavedModel, with `sample` and `metric_tensor` as in `export_generator`."""

    def __init__(self, archive, path):
        super().__init__()
        missing = [name for name in ("serve", "sample", "metric_tensor") if not hasattr(archive, name)]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}: it was not written by export_generator")
        self._archive = archive

    def __call__(self, z):
        """Images [B, ...] in [−1, 1] for latents z float32 [B, n_z]; raises ValueError for z of another shape."""
        return self._archive.serve(_latents(z))

    def sample(self, n, seed=0):
        """n images of the prior, uint8 [n, ...]."""
        return self._archive.sample(tf.constant(n), tf.constant(seed))

    def metric_tensor(self, z):
        """M_z = J_zᵀJ_z, float64 [B, n_z, n_z], for latents z [B, n_z]."""
        return self._archive.metric_tensor(_latents(z))


def _latents(z):
    return checks.rank("z", tf.cast(z, tf.float32), 2, "[B, n_z]")
