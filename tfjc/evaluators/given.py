"""Images from a folder or a file, scored as the samples of a generator are."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfjc import datasets
from tfjc.datasets import image_arrays, image_folder
from tfjc.evaluators import _ranges

_ARRAYS = (".npy", ".npz")


def read(path: str | os.PathLike, size: int | Sequence[int] | None = None) -> np.ndarray:
    """The images [N, ...] of a folder (uint8) or of a `.npy` or `.npz` file, in order of their names.

    Args:
      path: a folder, read as by `datasets.image_folder.read`, or a file, read as by `datasets.image_arrays.load`.
      size: to which images of a folder are resized; None keeps their own size.

    Raises:
      ValueError: the images cannot be read, or differ in size.
    """
    return image_folder.read(path, size)[0] if os.path.isdir(path) else _array(path)


def reference(path: str | os.PathLike, size: int | Sequence[int] | None = None) -> datasets.Dataset:
    """The real images in a folder or a file. Of a folder, several sub-folders with images are the classes.

    Args:
      path, size: as in `read`.

    Raises:
      ValueError: as in `read`; or floats of an array may have several ranges.
    """
    if os.path.isdir(path):
        return datasets.Dataset("image_folder", *image_folder.read(path, size, labelled=True))
    images = _array(path)
    if images.dtype == np.uint8 or images.ndim != 4:
        return datasets.Dataset("array", datasets.check_images(images))
    found = _ranges.from_values(_ranges.Seen().add(images))
    if found is None:
        raise ValueError(
            f"{path} must hold uint8, or floats that run over [-1, 1] or [0, 255], found {images.dtype} in "
            f"[{images.min():g}, {images.max():g}]; save the images as uint8, 0 to 255"
        )
    return datasets.Dataset("array", found.scale(images))


def _array(path):
    if not os.fspath(path).lower().endswith(_ARRAYS):
        raise ValueError(f"a folder of images, or a .npy or .npz file, is needed, found the file {os.fspath(path)!r}")
    return image_arrays.load(path)


def indices(images: np.ndarray) -> tf.Tensor:
    """The latents [N, 1] at which `look_up` gives the images: 0, 1, ..., N − 1, as float32 (exact up to 2**24)."""
    return tf.range(len(images), dtype=tf.float32)[:, None]


def look_up(images: np.ndarray, data: datasets.Dataset) -> Callable[[tf.Tensor], np.ndarray]:
    """The function z → images[z], which evaluators score as they do a generator.

    Grey images are repeated over three channels where the data have three. Three equal channels count as one where the
    data are grey.

    Args:
      images: [N, ...].
      data: the real images.

    Raises:
      ValueError: the images are of another shape than the real ones.
    """
    images = _with_channels_of(images, data)
    if images.shape[1:] != data.image_shape:
        raise ValueError(
            f"the images are {list(images.shape[1:])}, those of {data.name} {list(data.image_shape)}; "
            + _way_forward(images.shape[1:], data.image_shape)
        )
    return lambda z: images[np.asarray(z)[:, 0].astype(np.int64)]


def _with_channels_of(images, data):
    if images.ndim != 4 or len(data.image_shape) != 3:
        return images
    channels = images.shape[-1], data.image_shape[-1]
    if channels == (1, 3):
        return np.repeat(images, 3, axis=-1)
    return images[..., :1] if channels == (3, 1) and np.all(images == images[..., :1]) else images


def _way_forward(shape, expected):
    if len(shape) == 3 and (*shape[1:], shape[0]) == tuple(expected):
        return "bring the channels last: numpy.moveaxis(images, 1, -1)"
    if len(shape) == len(expected) == 3 and shape[-1] == expected[-1]:
        size = list(shape[:2]) if shape[0] != shape[1] else shape[0]
        return (
            f'--gin_bindings="dataset.size = {size}" brings real images to that size, and images of a folder, too. '
            "Scores at two sizes do not compare"
        )
    return "both must have one shape"
