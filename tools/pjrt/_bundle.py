"""Reads a bundle, what `export.py` writes: its manifest, and states as arrays. NumPy alone."""

import gzip
import json
import math
import pathlib

import _philox
import numpy as np


class Bundle:
    """A folder of XLA modules.

    Attributes:
      manifest: `modules` {name: file, `parameters` and `results` in order}, `states` {name: {variable: recipe}},
        and what the parts of `run.py` need beside these.
      arrays: {name: array} of all that is neither constant nor drawn from a known seed.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        self.arrays = {}
        for path in self.folder.glob("*.npz"):
            with np.load(path) as saved:
                self.arrays |= {name: saved[name] for name in saved.files}

    def hlo(self, module: str) -> bytes:
        """A module as the serialized HloModuleProto that TensorFlow made."""
        return gzip.decompress((self.folder / self.manifest["modules"][module]["file"]).read_bytes())

    def state(self, name: str) -> dict[str, np.ndarray]:
        """The initial variables of a state by name."""
        return {variable: self.value(recipe) for variable, recipe in self.manifest["states"][name].items()}

    def value(self, recipe) -> np.ndarray:
        """The array that a recipe stands for: `make`, or the one of `arrays` that it names."""
        return self.arrays[recipe["array"]] if "array" in recipe else make(recipe)


def make(recipe) -> np.ndarray:
    """A constant array, or scale·x + shift of random numbers x that TensorFlow draws for a key and a counter."""
    shape, dtype = recipe["shape"], np.dtype(recipe["dtype"])
    if "fill" in recipe:
        return np.full(shape, recipe["fill"], dtype)
    draw = getattr(_philox, recipe["draw"])
    drawn = draw(recipe["key"], recipe["counter"], shape)
    return (drawn * np.float32(recipe["scale"]) + np.float32(recipe["shift"])).astype(dtype)


def order(epochs, batch: int, first: int, count: int, images: int) -> np.ndarray:
    """Which images the steps first, ..., first + count − 1 take: [count, batch], as `tfjc.datasets.batches` does.

    `epochs` [E, 3] are the keys of each epoch's permutation of all `images`.
    """
    start, stop = first * batch, (first + count) * batch
    needed = range(start // images, math.ceil(stop / images))
    indices = np.concatenate([_permuted(tuple(map(int, epochs[epoch])), images) for epoch in needed])
    skipped = start - needed.start * images
    return indices[skipped : skipped + count * batch].reshape(count, batch).astype(np.int32)


def _permuted(key, images, _kept={}):  # noqa: B006, the newest two epochs stay
    if (key, images) not in _kept:
        while len(_kept) > 1:
            _kept.pop(next(iter(_kept)))
        _kept[key, images] = _philox.permutation(key, images)
    return _kept[key, images]
