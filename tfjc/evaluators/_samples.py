"""What evaluators of samples share: their latents, and the images that a generator makes of these."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tfjc import checks, datasets, jacobian, numerics


class Unavailable(ValueError):
    """What an evaluator needs is not on this machine: the message says how to get it here."""


class NotFinite(ValueError):
    """A generator makes values that are not finite: there is nothing to score."""


def dataset(data):
    """`data`, which must be a `datasets.Dataset`, with its images as an array."""
    if not isinstance(data, datasets.Dataset):
        example = "tfjc.datasets.Dataset('mine', images, labels)"
        raise ValueError(f"data must be a dataset, such as {example}; found a {type(data).__name__}")
    return dataclasses.replace(data, images=datasets.check_images(data.images))


def latents(z, labels, least=1):
    """(z float32 [N, n_z], labels [N, ...] or None), one for each of at least `least` samples, else ValueError."""
    z = checks.rank("z", tf.cast(z, tf.float32), 2, "[N, n_z]")
    if len(z) < least:
        raise ValueError(f"at least {least} samples are needed, found {len(z)} latents")
    labels = None if labels is None else tf.convert_to_tensor(labels)
    if labels is not None and labels.shape[:1] != z.shape[:1]:
        raise ValueError(f"labels must be [{len(z)}, ...], one for each latent, found {labels.shape}")
    return z, labels


def generated(generate, z, labels, batch_size):
    """Batches of G(z), float32 arrays; in a strategy's scope its replicas share each."""
    run = functools.partial(jacobian.run, generate)
    if numerics.is_distributed():
        run = tf.function(numerics.split_over_replicas(run), autograph=False)
    for start in range(0, len(z), batch_size):
        part = slice(start, start + batch_size)
        try:
            images = run(z[part], None if labels is None else labels[part])
        except tf.errors.OpError as error:
            raise ValueError(f"the generator fails on these latents or labels: {jacobian.summary(error)}") from error
        yield np.asarray(tf.cast(images, tf.float32))


def shared(network):
    """`network`, images → tensors, by all replicas of this process, each of which takes a part of the images.

    Not by those of other workers: what one has in its cache, another may have to compute.
    """
    return numerics.split_over_replicas(network) if _mirrored() else network


def at_once(batch_size):
    """How many images are taken at once: `batch_size` by each replica of this process."""
    return checks.integer("batch_size", batch_size, minimum=1) * (numerics.replicas() if _mirrored() else 1)


def _mirrored():
    return isinstance(tf.distribute.get_strategy(), tf.distribute.MirroredStrategy)


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
