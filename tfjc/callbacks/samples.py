"""Pictures of what the generator makes at fixed latents."""

import io
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from tfjc import geometry
from tfjc.callbacks._periodic import Periodic
from tfjc.support.files import replacing
from tfjc.support.images import to_uint8


class Samples(Periodic):
    """Writes a grid of G(z) at fixed latents as `step_00000500.png`, and to TensorBoard with `log_dir`.

    Points in the plane are drawn as a scatter plot. A class-conditional generator's images have a column a class.
    TensorBoard, which shows ten pictures, is given the first 16, then 8 for each doubling of the steps.

    Args:
      generator: callable z [B, n_z] → images [B, height, width, 1 or 3] in [−1, 1], or points [B, 2].
      z: latents [B, n_z], which stay fixed.
      directory: where the pictures go; made if need be.
      every: steps between pictures.
      log_dir: TensorBoard's directory.
      labels: of a class-conditional generator, [B] or more, in turn (0, 1, ..., C − 1, 0, ...).
    """

    def __init__(self, generator, z, directory, every=500, *, log_dir=None, labels=None):
        super().__init__(every, log_dir)
        self.generator, self.z, self.directory = generator, z, pathlib.Path(directory)
        self.labels = None if labels is None else tf.convert_to_tensor(labels)[: len(z)]
        self._columns = None if labels is None else len(np.unique(self.labels))

    def act(self, step, logs):
        """Draws and writes the picture."""
        picture = draw(np.asarray(geometry.run(self.generator, self.z, self.labels)), self._columns)
        self.directory.mkdir(parents=True, exist_ok=True)
        with replacing(self.directory / f"step_{step:08d}.png") as temporary:
            picture.save(temporary, format="PNG")
        if self._writer and _is_told(step // self.every):
            tf.summary.image("samples", np.asarray(picture.convert("RGB"))[None])


def _is_told(index):
    """Whether the picture of this index goes to TensorBoard: of 16, 32, 64, ... on every 2nd, 4th, 8th, ... does."""
    return index % (1 << max(0, index.bit_length() - 4)) == 0


def draw(samples, columns=None):
    """A picture of samples: a grid of images, or a scatter plot of points."""
    return _scatter(samples) if samples.ndim == 2 else Image.fromarray(grid(samples, columns))


def grid(images, columns=None):
    """Images [B, height, width, colours] in [−1, 1] side by side, uint8, with a pixel between; in rows of ⌈√B⌉."""
    images = np.pad(to_uint8(images).numpy(), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=128)
    count, height, width, colours = images.shape
    columns = int(np.ceil(np.sqrt(count))) if columns is None else columns
    rows = -(-count // columns)
    images = np.pad(images, [(0, rows * columns - count), (0, 0), (0, 0), (0, 0)], constant_values=128)
    table = images.reshape(rows, columns, height, width, colours).swapaxes(1, 2)
    table = table.reshape(rows * height, columns * width, colours)
    return table[..., 0] if colours == 1 else table


def _scatter(points):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4))
    axes = figure.add_subplot(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
    axes.scatter(*points[:, :2].T, s=4)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer)
