"""Any folder of images."""

import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def load(folder, size):
    """(images uint8 [N, size, size, 3], labels [N] or None) of all images under `folder`, in order of their names.

    Each is cropped about its centre to a square and resized; sub-folders of the first level, in order, are the labels,
    if there are several. Raises ValueError where there is no such folder or no image in it, or naming a file that
    cannot be read.
    """
    if not folder:
        raise ValueError("dataset 'image_folder' needs dataset.folder = '/path/to/images', found none")
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"dataset.folder must be a string, found {folder!r}")
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise ValueError(f"dataset.folder must be a folder of images, found {os.fspath(root)!r}")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise ValueError(f"dataset.folder {os.fspath(root)!r} holds no image ({', '.join(_ENDINGS)})")
    images = np.stack([_read(path, size) for path in paths])
    tops = [path.relative_to(root).parts[0] if path.parent != root else None for path in paths]
    if None in tops:
        return images, None
    classes, labels = np.unique(tops, return_inverse=True)
    return images, labels.astype(np.int64) if len(classes) > 1 else None


def _read(path, size):
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} cannot be read as an image: {error}") from error
