"""What evaluators of samples share: their latents, and the images that a generator makes of these."""

import numpy as np
import tensorflow as tf

from tfjc import checks, datasets, jacobian


class NotFinite(ValueError):
    """A generator makes values that are not finite: there is nothing to score."""


def dataset(data):
    """`data`, which must be a `datasets.Dataset` of images in order."""
    if not isinstance(data, datasets.Dataset):
        example = "tfjc.datasets.Dataset('mine', images, labels)"
        raise ValueError(f"data must be a dataset, such as {example}; found a {type(data).__name__}")
    datasets.check_images(data.images)
    return data


def latents(z, labels):
    """(z float32 [N, n_z], labels [N, ...] or None), one for each sample; raises ValueError for other shapes."""
    z = checks.rank("z", tf.cast(z, tf.float32), 2, "[N, n_z]")
    if len(z) == 0:
        raise ValueError("at least one latent is needed, found none")
    labels = None if labels is None else tf.convert_to_tensor(labels)
    if labels is not None and labels.shape[:1] != z.shape[:1]:
        raise ValueError(f"labels must be [{len(z)}, ...], one for each latent, found {labels.shape}")
    return z, labels


def generated(generate, z, labels, batch_size):
    """Batches of G(z), float32 arrays."""
    for start in range(0, len(z), batch_size):
        part = slice(start, start + batch_size)
        images = jacobian.run(generate, z[part], None if labels is None else labels[part])
        yield np.asarray(tf.cast(images, tf.float32))


def check(images, data):
    """`images`, which must be like the dataset's; raises ValueError with what was found, NotFinite for nan."""
    shape = data.image_shape
    if images.shape[1:] != shape:
        raise ValueError(f"images must be {list(shape)} as those of {data.name} are, found {list(images.shape[1:])}")
    bad = np.count_nonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
    if bad:
        raise NotFinite(f"images must be finite, found {bad} of {len(images)} with values that are not")
    low, high = images.min(initial=0.0), images.max(initial=0.0)
    if len(shape) == 3 and not (low >= -1.001 and high <= 1.001):
        raise ValueError(f"images must lie in [-1, 1], found [{low:g}, {high:g}]")
    return images
