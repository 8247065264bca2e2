"""Loads an array of images from a file of NumPy's."""

import os
import pathlib
import zipfile

import numpy as np

_KEYS = ("images", "arr_0")  # arr_0 is the name that `np.savez` gives, and that files of samples for FID have


def load(path: str | os.PathLike) -> np.ndarray:
    """The images of a `.npy` or `.npz` file: whole numbers or floats, [N, height, width, channels].

    [N, height, width] gets an axis of one channel. Of a `.npz` file with several arrays, `images` or `arr_0` is taken.
    Pickled objects are refused, since unpickling runs code.

    Raises:
      ValueError: the file cannot be read, holds several arrays under other names, or holds something else.
    """
    path, names = pathlib.Path(path), []
    try:
        images = np.load(path)
        if not isinstance(images, np.ndarray):
            with images as arrays:
                names = arrays.files
                chosen = names if len(names) == 1 else [name for name in _KEYS if name in names]
                images = arrays[chosen[0]] if chosen else None
    except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as a .npy or .npz file of images: {error}") from error
    if images is None:
        found = ", ".join(names) or "no array"
        raise ValueError(f"{path} must hold one array, or one that is called {' or '.join(_KEYS)}, found {found}")
    if images.ndim < 2 or len(images) == 0 or not _is_real(images.dtype):
        found = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"{path} must hold numbers [N, height, width, channels] with N ≥ 1, found {found}")
    return images[..., None] if images.ndim == 3 else images


def _is_real(dtype):
    return np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)
