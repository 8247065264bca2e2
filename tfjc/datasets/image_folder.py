"""Loads a folder of images."""

import os
import pathlib
import stat
import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from tfjc.support import checks

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
# Files with these endings are images, too. One that Pillow cannot read raises an error: skipping it could empty a class
# without notice.
_RARE_ENDINGS = (".jpe", ".jfif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif", ".heic", ".heif")
_BACKGROUND = 255  # white
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags


def load(folder: str | os.PathLike, size: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
    """All images under `folder` in order of their names, resized.

    If several sub-folders of the first level hold images, they are the classes, numbered in order of their names.
    Otherwise there are no labels. Links to folders are followed. Files and folders whose names begin with a dot are
    skipped, and so are files without an image's ending.

    Each image is turned by its EXIF orientation, cropped about its centre to the shape of `size`, and resized
    (Lanczos). 16-bit grey values v become v·255/65535. Pillow reads 16-bit colours as their high bytes. Transparent
    images get a white background. Of several frames the first is read.

    Args:
      folder: the folder.
      size: pixels of a side of a square, or (height, width).

    Returns:
      (images uint8 [N, height, width, 3], labels int64 [N] or None).

    Raises:
      ValueError: the folder does not exist or holds no image; images lie beside several classes; or an image cannot
        be read, or has pixels of unknown range (32 bits, floating point). The message names the file.
    """
    if not folder:
        raise ValueError("dataset 'image_folder' needs dataset.folder = '/path/to/images', found none")
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"dataset.folder must be a string, found {folder!r}")
    return read(folder, size, labelled=True)


def read(
    folder: str | os.PathLike, size: int | Sequence[int] | None = None, *, labelled: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """As `load`; without `size`, images keep their own size, which must be the same for all.

    Args:
      folder: the folder.
      size: as in `load`, or None.
      labelled: whether sub-folders are classes. Without classes, images may lie anywhere under the folder.

    Raises:
      ValueError: as in `load`, or two images differ in size.
    """
    root, paths = _found(folder)
    labels = _labels(root, paths) if labelled else None
    return _read_all(root, paths, size), labels


def _found(folder):
    """(the folder, the paths of its images in order of their names)."""
    root = pathlib.Path(os.path.expanduser(folder))
    if not root.is_dir():
        raise ValueError(f"a folder of images is needed, found {os.fspath(root)!r}, which is none")
    paths = sorted(_images(root, ()), key=lambda path: (_names(path), path.parts))
    if not paths:
        raise ValueError(f"folder {os.fspath(root)!r} holds no image ({', '.join(_ENDINGS)})")
    return root, paths


def _read_all(root, paths, size):
    """The images as one array uint8 [N, height, width, 3]."""
    first = _read(root / paths[0], size)
    checks.fits(f"folder {os.fspath(root)!r} of {len(paths)} images", len(paths) * first.nbytes)
    images = np.empty([len(paths), *first.shape], np.uint8)
    for index, path in enumerate(paths):
        image = _read(root / path, size)
        if image.shape != first.shape:
            raise ValueError(
                f"images of one size are needed, found {_shown(first)} in {root / paths[0]} and {_shown(image)} in "
                f'{root / path}: --gin_bindings="dataset.size = [HEIGHT, WIDTH]" crops and resizes all of them'
            )
        images[index] = image
    return images


def _shown(image):
    return f"{image.shape[0]} by {image.shape[1]} pixels"


def _images(folder, above):
    """The paths of the images under a folder, relative to it; `above` are the resolved folders that contain it."""
    here = folder.resolve()
    if here in above:  # a link to a folder that contains it
        return
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise ValueError(f"folder {os.fspath(folder)!r} cannot be read: {error.strerror}") from error
    for entry in entries:
        ending = os.path.splitext(entry.name)[1].lower()
        if os.path.isdir(entry.path):
            yield from (entry.name / path for path in _images(folder / entry.name, (*above, here)))
        elif ending in _ENDINGS or ending in _RARE_ENDINGS:
            yield pathlib.PurePath(entry.name)
        elif not ending and entry.is_symlink() and not os.path.exists(entry.path):
            raise ValueError(f"{entry.path!r} is a broken link: repair it or remove it")


def _names(path):
    """The parts of a path in Unicode's composed form, since file systems differ in the form they keep."""
    return [unicodedata.normalize("NFC", part) for part in path.parts]


def _labels(root, paths):
    """The class of each image: the index of its first folder among all first folders; None for fewer than two."""
    firsts = [names[0] if len(names) > 1 else None for names in map(_names, paths)]
    classes = sorted(set(firsts) - {None})
    if len(classes) < 2:
        return None
    if None in firsts:
        stray = paths[firsts.index(None)].name
        shown = ", ".join(classes[:5]) + ", ..." * (len(classes) > 5)
        raise ValueError(
            f"folder {os.fspath(root)!r} holds {firsts.count(None)} image(s) beside its classes ({shown}), "
            f"such as {stray!r}; move them into a class, or, for a dataset without labels, everything into one folder"
        )
    return np.array([classes.index(name) for name in firsts], np.int64)


def _read(path, size):
    """An image as uint8 [height, width, 3]."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is not a regular file")
        with Image.open(path) as image:  # its first frame
            return _fitted(ImageOps.exif_transpose(image), size, _white(image))
    except Exception as error:  # Pillow's decoders raise errors of many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{os.fspath(path)} cannot be read as an image: {reason}") from error


def _white(image):
    """The value of white in an opened grey image of more than 8 bits; None for all other images.

    Raises ValueError where the value is not known.
    """
    if not image.mode.startswith(("I", "F")):
        return None
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode!r}) have no known range; save it with 8 or 16 bits")
    if image.format == "TIFF":
        tags = image.tag_v2
        if tags.get(_PHOTOMETRIC) == 0:
            raise ValueError("16-bit images in which 0 is white are not supported; save it with 0 as black")
        return 2 ** tags[_BITS_PER_SAMPLE][0] - 1
    return 65535


def _fitted(image, size, white):
    """An image as uint8 [height, width, 3]: its central part in the shape of `size`, resized; all of it for None."""
    if white is not None:
        return _of_16_bits(image, size, white)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, (_BACKGROUND,) * 4), above)
    return np.asarray(_resized(image.convert("RGB"), size))


def _resized(image, size):
    if size is None:
        return image
    height, width = (size, size) if isinstance(size, int) else size
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def _of_16_bits(image, size, white):
    """Grey values v as v·255/white, rounded once. The value that stands for transparency becomes the background."""
    values = np.asarray(image, np.float32)
    values = np.where(values == image.info.get("transparency", -1), _BACKGROUND, values * (255 / white))
    fitted = _resized(Image.fromarray(values.astype(np.float32)), size)
    return np.repeat(np.clip(np.round(fitted), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
