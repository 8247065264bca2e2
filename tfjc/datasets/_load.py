"""Loads any dataset by its name."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfjc.datasets import digits, gaussians, image_folder, prepared
from tfjc.datasets._batches import integer_labels
from tfjc.support import checks, noise


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named dataset in memory.

    Attributes:
      name: as in `load`.
      images: [N, ...], uint8; float32 in [−1, 1] for points in the plane.
      labels: int64 [N], or None.
      split: the dataset's split; "" for a dataset without splits.
      reload: function (split=) → the `Dataset` of another split; None for a dataset without splits.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None
    split: str = ""
    reload: Callable[..., "Dataset"] | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image, (height, width, channels), or (2,) for points in the plane."""
        return self.images.shape[1:]

    @property
    def is_labelled(self) -> bool:
        """Whether `labelled` can give labels."""
        return self.labels is not None or self.reload is not None

    def labelled(self) -> tuple["Dataset", "Dataset"]:
        """The training part and the test part, both with labels.

        These are the dataset's own splits "train" and "test". Of a dataset without splits a fixed random fifth is the
        test part.

        Raises:
          ValueError: there are no labels, they are not one whole number for each image, or there are fewer than five
            images.
        """
        if self.reload is not None:
            return self if self.split == "train" else self.reload(split="train"), self.reload(split="test")
        if self.labels is None:
            raise ValueError(f"dataset {self.name!r} has no labels")
        if len(self.images) < 5:
            raise ValueError(f"a fifth of dataset {self.name!r} cannot be held out: it has {len(self.images)} images")
        labels = integer_labels(self.labels, len(self.images))
        order = noise.rng(0, noise.Stream.HELD_OUT).permutation(len(self.images))
        parts = {"train": np.sort(order[len(order) // 5 :]), "test": np.sort(order[: len(order) // 5])}
        train, test = (Dataset(self.name, np.asarray(self.images)[i], labels[i], split) for split, i in parts.items())
        return train, test


# Datasets of tensorflow-datasets: {name: (default split, default pixels of a side)}
_PREPARED = {
    "mnist": ("train", 28),
    "fashion_mnist": ("train", 28),
    "cifar10": ("train", 32),
    "stl10": ("unlabelled", 48),
}
# Other datasets: {name: (function that returns images and labels, {option: default value})}
_LOADERS: dict[str, tuple[Callable, dict]] = {
    "digits": (digits.load, {"size": 28}),
    "gaussian_ring": (functools.partial(gaussians.load, "gaussian_ring"), {}),
    "gaussian_grid": (functools.partial(gaussians.load, "gaussian_grid"), {}),
    "image_folder": (image_folder.load, {"folder": None, "size": 64}),
}
_RESIZED_AT_ONCE = 1000  # every dataset holds at least this many resized images at once
NAMES = (*_LOADERS, *_PREPARED)


def load(
    name: str,
    *,
    split: str | None = None,
    size: int | Sequence[int] | None = None,
    folder: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Dataset:
    """The dataset called `name`.

    - `digits`: scikit-learn's 1,797 real digits, resized from 8×8; needs no download.
    - `mnist`, `fashion_mnist`, `cifar10`, `stl10`: from tensorflow-datasets.
    - `gaussian_ring`, `gaussian_grid`: points in the plane, labelled by mode.
    - `image_folder`: every image under `folder`. Several sub-folders with images are the classes.

    Args:
      name: one of these names.
      split: tensorflow-datasets' split; "train" by default, for stl10 "unlabelled" (100,000 images).
      size: pixels of a side after resizing; 28 by default, 32 for CIFAR-10, 48 for STL-10, 64 for a folder. Of a
        folder also (height, width).
      folder: the folder of `image_folder`.
      data_dir: tensorflow-datasets' data directory.
      manual_dir: a directory with the dataset's official archives, for machines without network.

    Raises:
      ValueError: the name is unknown, the dataset does not have an option, or the data cannot be obtained.
    """
    checks.one_of("dataset", name, NAMES)
    given = {key: value for key, value in (("split", split), ("size", size), ("folder", folder)) if value is not None}
    if name in _LOADERS:
        loader, defaults = _LOADERS[name]
        return Dataset(name, *loader(**_options(name, defaults, given)))
    options = _options(name, dict(zip(("split", "size"), _PREPARED[name], strict=True)), given)
    split, side = options["split"], options["size"]
    if not isinstance(split, str):
        raise ValueError(f"dataset.split must be a string, found {split!r}")
    reload = functools.partial(load, name, size=side, data_dir=data_dir, manual_dir=manual_dir)
    return Dataset(name, *prepared.load(name, split, side, data_dir, manual_dir), split, reload)


def _options(name: str, defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The dataset's default options, overridden by `given`; raises ValueError for an option it does not have."""
    for option, value in given.items():
        if option not in defaults:
            raise ValueError(f"dataset {name!r} has no option {option!r}, found {option} = {value!r}")
    options = defaults | given
    if "size" in options:
        options["size"] = check_size(options["size"], may_be_pair=name == "image_folder")
    return options


def check_size(size: int | Sequence[int], may_be_pair: bool = True) -> int | tuple[int, ...]:
    """`size` in pixels: a side of squares, or where `may_be_pair` also (height, width); raises ValueError otherwise."""
    if isinstance(size, (list, tuple)) and len(size) == 2 and may_be_pair:
        size = tuple(checks.integer("dataset.size", side, minimum=1) for side in size)
    elif isinstance(size, (list, tuple)):
        asked = "a number, or [height, width]" if may_be_pair else "one number: the images are squares"
        raise ValueError(f"dataset.size must be {asked}, found {size!r}")
    else:
        size = checks.integer("dataset.size", size, minimum=1)
    checks.fits(
        f"dataset.size = {size}", 4 * _RESIZED_AT_ONCE * (math.prod(size) if isinstance(size, tuple) else size**2)
    )
    return size
