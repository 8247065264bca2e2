"""The latents of evaluators, and the images that a generator makes of these latents."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc import datasets, geometry
from tfjc.evaluators import _ranges
from tfjc.support import checks, replicas
from tfjc.support.images import to_images


class Unavailable(ValueError):
    """A network or package that an evaluator needs is not on this machine. The message says how to get it."""


class NotFinite(ValueError):
    """The samples hold values that are not finite, and cannot be scored."""


def dataset(data: datasets.Dataset) -> datasets.Dataset:
    """`data` with its images as an array.

    Raises:
      ValueError: `data` is no `datasets.Dataset`, or its floating-point images have no negative value: they are in
        [0, 1], not in [−1, 1].
    """
    if not isinstance(data, datasets.Dataset):
        example = "tfjc.datasets.Dataset('mine', images, labels)"
        raise ValueError(f"data must be a dataset, such as {example}; found a {type(data).__name__}")
    images = datasets.check_images(data.images)
    if images.ndim == 4 and images.dtype != np.uint8 and images.min() >= 0.0:
        raise ValueError(
            f"images of {data.name!r} must be uint8, or floats in [-1, 1], found floats in [{images.min():g}, "
            f"{images.max():g}]: 2 * images - 1 brings [0, 1] to [-1, 1]"
        )
    return dataclasses.replace(data, images=images)


def latents(z: ArrayLike, labels: ArrayLike | None, least: int = 1) -> tuple[tf.Tensor, tf.Tensor | None]:
    """(z as float32 [N, n_z], labels [N, ...] or None). Raises ValueError for other shapes or N < `least`."""
    found = checks.rank("z", tf.cast(z, tf.float32), 2, "[N, n_z]")
    if len(found) < least:
        raise ValueError(f"at least {least} samples are needed, found {len(found)}")
    if labels is None:
        return found, None
    beside = tf.convert_to_tensor(labels)
    if beside.shape[:1] != found.shape[:1]:
        raise ValueError(f"labels must be [{len(found)}, ...], one for each latent, found {beside.shape}")
    return found, beside


def generated(
    generate: geometry.Generator,
    z: tf.Tensor,
    labels: tf.Tensor | None,
    batch_size: int,
    data: datasets.Dataset,
    output_range: _ranges.OutputRange | None,
) -> Iterator[np.ndarray]:
    """Batches of G(z) as float32 arrays, scaled from `output_range` to [−1, 1]; points (None) are not scaled.

    In the scope of a distribution strategy, its replicas share each batch.

    Raises:
      ValueError: samples are unlike the dataset's images, or contradict `output_range`.
    """
    for images in _made(generate, z, labels, batch_size):
        check(images, data)
        yield images.astype(np.float32) if output_range is None else output_range.scale(images)
    if output_range is not None:
        output_range.check()


def find_range(
    generate: geometry.Generator,
    z: tf.Tensor,
    labels: tf.Tensor | None,
    batch_size: int,
    data: datasets.Dataset,
    given: tuple[float, float] | None = None,
) -> _ranges.OutputRange | None:
    """The range of a generator's images, `given` or inferred from 2 to 1,000 samples; None for points.

    Raises:
      ValueError: samples are unlike the dataset's images, or the range stays open.
    """
    is_image = len(data.image_shape) == 3
    if given is not None and not is_image:
        raise ValueError(f"output_range is for images, found data of shape {list(data.image_shape)}")
    seen = _ranges.Seen()
    for start, stop in ((0, 2), (2, _ranges.LOOK)):
        for images in _made(generate, z[start:stop], None if labels is None else labels[start:stop], batch_size):
            seen.add(check(images, data))
            if not is_image:
                return None
            found = _ranges.from_values(seen) if given is None else None
            if found:
                return found
        if start == 0:
            bounds = _ranges.bounds(generate, z[:2], None if labels is None else labels[:2])
            found = _ranges.from_operations(bounds) if given is None else _ranges.from_given(given, bounds)
            if found:
                return found
    return _ranges.from_many(seen, _is_dark(data))


def in_range(images: ArrayLike, data: datasets.Dataset, given: tuple[float, float] | None = None) -> np.ndarray:
    """Images as an array [N, ...] of uint8, or of floats in [−1, 1]; `given` as in `find_range`."""
    array = np.asarray(images)
    if not np.issubdtype(array.dtype, np.floating) or array.ndim != 4 or not array.size:
        return datasets.check_images(array)
    seen = _ranges.Seen().add(array)
    if given is not None:
        found = _ranges.OutputRange(*given, "given")
    else:
        found = _ranges.from_values(seen) or _ranges.from_many(seen, _is_dark(data))
    scaled = found.scale(array)
    found.check()
    return datasets.check_images(scaled)


def _is_dark(data):
    return to_images(data.images[:100]).numpy().min() < -0.5


def _made(generate, z, labels, batch_size):
    """Batches of G(z) as arrays: integers in their own type, floats of any width as float32."""
    run = functools.partial(geometry.run, generate)
    if replicas.is_distributed():
        run = tf.function(replicas.split(run), autograph=False)
    for start in range(0, len(z), batch_size):
        part = slice(start, start + batch_size)
        try:
            images = run(z[part], None if labels is None else labels[part])
        except tf.errors.OpError as error:
            raise ValueError(f"the generator fails on these latents or labels: {geometry.summary(error)}") from error
        images = tf.convert_to_tensor(images)
        yield np.asarray(tf.cast(images, tf.float32) if images.dtype.is_floating else images)


def shared(network: Callable[..., Any]) -> Callable[..., Any]:
    """`network`, images → tensors, run by all replicas of this process on a part of the images each.

    Replicas of other workers take no part: one worker may have the results in its cache while another computes them.
    """
    return replicas.split(network) if _mirrored() else network


def at_once(batch_size: int) -> int:
    """How many images are processed at once: `batch_size` on each replica of this process."""
    return checks.integer("batch_size", batch_size, minimum=1) * (replicas.count() if _mirrored() else 1)


def _mirrored():
    return isinstance(tf.distribute.get_strategy(), tf.distribute.MirroredStrategy)


def check(images: np.ndarray, data: datasets.Dataset) -> np.ndarray:
    """`images`; raises ValueError if their shape is not the dataset's, NotFinite if values are not finite."""
    shape = data.image_shape
    if images.shape[1:] != shape:
        raise ValueError(f"images must be {list(shape)} as those of {data.name} are, found {list(images.shape[1:])}")
    bad = np.count_nonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
    if bad:
        raise NotFinite(f"images must be finite, found {bad} of {len(images)} with values that are not")
    return images
