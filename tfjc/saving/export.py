"""Exports trained generators as SavedModels that need no code of tfjc."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc import architectures, geometry
from tfjc.support import checks, noise
from tfjc.support.files import sync
from tfjc.support.images import to_uint8


def export_generator(
    generator: keras.Model,
    path: str | os.PathLike,
    *,
    prior: architectures.Prior | None = None,
    num_classes: int | None = None,
) -> pathlib.Path:
    """Writes a Keras generator as a SavedModel with three signatures.

    - `serve(z)`: latents float32 [B, n_z] → images float32 [B, ...] in [−1, 1], in inference mode, under any dtype
      policy.
    - `sample(n, seed)`: int32 scalars → images uint8 [n, ...] at latents drawn from the prior.
    - `metric_tensor(z)`: float32 [B, n_z] → M_z = J_zᵀJ_z, float64 [B, n_z, n_z].

    Those of a class-conditional generator are `serve(z, labels)` and `metric_tensor(z, labels)` with labels int32 [B];
    `sample` draws labels uniformly.

    Args:
      generator: built Keras model z [B, n_z] → images in [−1, 1]; with `num_classes`, of latents and labels.
      path: directory to write. An existing SavedModel is replaced.
      prior: distribution over latents [n_z] (`architectures.Prior`); by default N(0, I) of the generator's input size.
      num_classes: the number of classes of a class-conditional generator.

    Returns:
      The path.

    Raises:
      ValueError: the generator is not built, its inputs do not fit, or `path` holds something else.
    """
    path = pathlib.Path(path)
    if path.exists() and not (path / "saved_model.pb").exists() and (path.is_file() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not a SavedModel, so it is not replaced")
    if not getattr(generator, "built", False):
        raise ValueError("export needs a Keras generator that is built: call it once on latents [B, n_z]")
    if len(getattr(generator, "inputs", None) or [0, *[0] * bool(num_classes)]) != 1 + bool(num_classes):
        raise ValueError(
            f"the generator has {len(generator.inputs)} inputs, which does not fit num_classes = {num_classes}"
        )
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
    geometry.settle(generator, example, labels=next(iter(_drawn(1, 0, num_classes)), None))
    module = tf.Module()  # keras.export.ExportArchive would trace each function twice
    module.generator, module.prior = generator, list(getattr(prior, "variables", []))  # the functions read them
    module.serve = serve = tf.function(serve, latents, autograph=False)
    module.sample = tf.function(sample, [scalar, scalar], autograph=False)
    module.metric_tensor = tf.function(metric_tensor, latents, autograph=False)
    return _write(module, path)


def _drawn(n, seed, num_classes):
    """[labels [n], drawn uniformly]; an empty list for a generator without labels."""
    if num_classes is None:
        return []
    seed = noise.seed(seed, noise.Stream.SERVED_LABELS)
    return [tf.random.stateless_uniform([n], seed, maxval=num_classes, dtype=tf.int32)]


def _write(module, path):
    """Writes beside `path` and then moves, so that `path` never holds part of a SavedModel."""
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


def load_generator(path: str | os.PathLike) -> ExportedGenerator:
    """Loads a generator that `export_generator` wrote; it also draws samples and computes metric tensors.

    `tfjc.saving.load_any` loads the generator in any other file.

    Raises:
      ValueError: `path` holds something else.
    """
    path = os.fspath(path)
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(
            f"{path} is not a SavedModel directory: it has no saved_model.pb; tfjc.saving.load_any loads the generator "
            "of any file"
        )
    return ExportedGenerator(tf.saved_model.load(path), path)


class ExportedGenerator(geometry.Frozen):
    """A generator z → images from a SavedModel of `export_generator`.

    Args:
      archive: the loaded SavedModel.
      path: its directory, for messages.

    Raises:
      ValueError: the SavedModel was not written by `export_generator`.
    """

    def __init__(self, archive: Any, path: str) -> None:
        super().__init__()
        missing = [name for name in ("serve", "sample", "metric_tensor") if not hasattr(archive, name)]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}: it was not written by export_generator")
        self._archive = archive

    def __call__(self, z: ArrayLike | tf.Tensor, *labels: ArrayLike | tf.Tensor) -> tf.Tensor:
        """Images float32 [B, ...] in [−1, 1].

        Args:
          z: latents [B, n_z].
          labels: labels [B] of a class-conditional generator, as one argument.

        Raises:
          ValueError: z has another shape.
        """
        return self._called("serve", z, labels)

    def sample(self, n: int, seed: int = 0) -> tf.Tensor:
        """`n` images uint8 [n, ...] at latents drawn from the prior."""
        n, seed = checks.integer("n", n, minimum=0, maximum=2**31 - 1), checks.seed("seed", seed)
        return self._archive.sample(tf.constant(n), tf.constant(seed))

    def metric_tensor(self, z: ArrayLike | tf.Tensor, *labels: ArrayLike | tf.Tensor) -> tf.Tensor:
        """M_z = J_zᵀJ_z, float64 [B, n_z, n_z]; arguments as for a call."""
        return self._called("metric_tensor", z, labels)

    def _called(self, name, z, labels):
        z = tf.cast(geometry.latents(z), tf.float32)
        signature = self._archive.serve.input_signature
        if not z.shape[1:].is_compatible_with(signature[0].shape[1:]):
            raise ValueError(f"z must have shape [B, {signature[0].shape[1]}], found {list(z.shape)}")
        if 1 + len(labels) != len(signature):
            takes = "z alone" if len(signature) == 1 else "z and labels"
            raise ValueError(f"the generator takes {takes}, found {1 + len(labels)} arguments")
        return getattr(self._archive, name)(z, *(tf.cast(entry, tf.int32) for entry in labels))
