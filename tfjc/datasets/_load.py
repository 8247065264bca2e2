"""One function that gives any dataset by name."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from tfjc.datasets import digits, gaussians, image_folder, prepared
from tfjc.datasets._batches import whole_labels
from tfjc.support import checks, noise


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named dataset in memory.

    Attributes:
      name: as in `load`.
      images: [N, ...] uint8, or float32 in [−1, 1] for points.
      labels: int64 [N], or None.
      split: which part of the dataset it is, "" where that is known by one name alone.
      reload: callable (split=) → the `Dataset` of another split, or None where there are none.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None
    split: str = ""
    reload: Callable | None = None

    @property
    def image_shape(self):
        """Shape of one image, (height, width, colours), or (2,) for points in the plane."""
        return self.images.shape[1:]

    @property
    def is_labelled(self):
        """Whether `labelled` has something to give."""
        return self.labels is not None or self.reload is not None

    def labelled(self):
        """(training part, test part), each a `Dataset` with labels.

        Those are the dataset's own splits "train" and "test"; where it has none, a fifth is held out, always the same.
        Raises ValueError where there are no labels, or not one whole number for each image, or fewer than five images.
        """
        if self.reload is not None:
            return self if self.split == "train" else self.reload(split="train"), self.reload(split="test")
        if self.labels is None:
            raise ValueError(f"dataset {self.name!r} has no labels")
        if len(self.images) < 5:
            raise ValueError(f"a fifth of dataset {self.name!r} cannot be held out: it has {len(self.images)} images")
        labels = whole_labels(self.labels, len(self.images))
        order = noise.rng(0, noise.Stream.HELD_OUT).permutation(len(self.images))
        parts = {"train": np.sort(order[len(order) // 5 :]), "test": np.sort(order[: len(order) // 5])}
        return tuple(Dataset(self.name, np.asarray(self.images)[i], labels[i], split) for split, i in parts.items())


# Datasets of tensorflow-datasets: {name: (split by default, pixels of a side by default)}
_PREPARED = {
    "mnist": ("train", 28),
    "fashion_mnist": ("train", 28),
    "cifar10": ("train", 32),
    "stl10": ("unlabelled", 48),
}
# Others: {name: (function that returns images and labels, the options that it takes, with their values by default)}
_LOADERS: dict[str, tuple[Callable, dict]] = {
    "digits": (digits.load, {"size": 28}),
    "gaussian_ring": (functools.partial(gaussians.load, "gaussian_ring"), {}),
    "gaussian_grid": (functools.partial(gaussians.load, "gaussian_grid"), {}),
    "image_folder": (image_folder.load, {"folder": None, "size": 64}),
}
_RESIZED_AT_ONCE = 1000  # images, at least
NAMES = (*_LOADERS, *_PREPARED)


def load(name, *, split=None, size=None, folder=None, data_dir=None, manual_dir=None):
    """The dataset called `name`.

    - `digits`: scikit-learn's 1,797 real digits, which need no files and no network, resized from 8×8;
    - `mnist`, `fashion_mnist`, `cifar10`, `stl10`: through tensorflow-datasets;
    - `gaussian_ring`, `gaussian_grid`: points in the plane, labelled by mode;
    - `image_folder`: every image under `folder`; its sub-folders, if any, are the labels.

    Args:
      name: one of the above.
      split: tensorflow-datasets' split ("train" by default; for stl10 "unlabelled", its 100,000 images).
      size: pixels of a side after resizing (28, CIFAR-10 32, STL-10 48 by default; 64 for a folder).
      folder: where `image_folder` looks.
      data_dir: tensorflow-datasets' data directory.
      manual_dir: a directory with the dataset's official archives, for machines without network.

    Raises:
      ValueError: an unknown name, an option that the dataset does not have, or data that cannot be had.
    """
    checks.one_of("dataset", name, NAMES)
    given = {key: value for key, value in (("split", split), ("size", size), ("folder", folder)) if value is not None}
    if name in _LOADERS:
        loader, defaults = _LOADERS[name]
        return Dataset(name, *loader(**_options(name, defaults, given)))
    options = _options(name, dict(zip(("split", "size"), _PREPARED[name], strict=True)), given)
    split, size = options["split"], options["size"]
    if not isinstance(split, str):
        raise ValueError(f"dataset.split must be a string, found {split!r}")
    reload = functools.partial(load, name, size=size, data_dir=data_dir, manual_dir=manual_dir)
    return Dataset(name, *prepared.load(name, split, size, data_dir, manual_dir), split, reload)


def _options(name, defaults, given):
    """The options of a dataset, those given before the defaults; raises ValueError for one that it does not have."""
    for option, value in given.items():
        if option not in defaults:
            raise ValueError(f"dataset {name!r} has no option {option!r}, found {option} = {value!r}")
    options = defaults | given
    if "size" in options:
        size = options["size"] = checks.integer("dataset.size", options["size"], minimum=1)
        checks.fits(f"dataset.size = {size}", 4 * _RESIZED_AT_ONCE * size * size)
    return options
