"""Draws a generator's images at fixed latents."""

import io
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from PIL import Image

from tfjc import geometry
from tfjc.callbacks._periodic import Periodic
from tfjc.support.files import replacing
from tfjc.support.images import to_uint8


class Samples(Periodic):
    """Writes a grid of G(z) at fixed latents as `step_00000500.png`, and to TensorBoard with `log_dir`.

    Points become a scatter plot of their first two numbers. The slices of a volume lie side by side, and so do channels
    that are no colours. A class-conditional generator's grid has a column for each class.
    TensorBoard shows ten pictures, so it gets the first 16, and then 8 for each doubling of the steps.

    Args:
      generator: callable z [B, n_z] → images [B, height, width] or [B, height, width, channels] in [−1, 1], volumes
        [B, depth, height, width, channels], or points [B, n].
      z: latents [B, n_z], fixed for all pictures.
      directory: where the pictures go; made where it does not exist.
      every: steps between pictures.
      log_dir: TensorBoard's directory.
      labels: labels of a class-conditional generator in turn (0, 1, ..., C − 1, 0, ...), [B] or more.
    """

    def __init__(
        self,
        generator: geometry.Generator,
        z: np.ndarray | tf.Tensor,
        directory: str | os.PathLike,
        every: int = 500,
        *,
        log_dir: str | os.PathLike | None = None,
        labels: ArrayLike | tf.Tensor | None = None,
    ) -> None:
        super().__init__(every, log_dir)
        self.generator, self.z, self.directory = generator, z, pathlib.Path(directory)
        self.labels = None if labels is None else tf.convert_to_tensor(labels)[: len(z)]
        self._columns = None if self.labels is None else len(np.unique(self.labels))

    def act(self, step: int, logs: dict[str, Any]) -> None:
        """Draws and writes the picture."""
        picture = draw(np.asarray(geometry.run(self.generator, self.z, self.labels)), self._columns)
        self.directory.mkdir(parents=True, exist_ok=True)
        with replacing(self.directory / f"step_{step:08d}.png") as temporary:
            picture.save(temporary, format="PNG")
        if self._writer and _is_summarised(step // self.every):
            tf.summary.image("samples", np.asarray(picture.convert("RGB"))[None])


def _is_summarised(index):
    """Whether TensorBoard gets the picture of this index.

    It gets all of the first 16, every second one from 16 on, every fourth from 32 on, and so on.
    """
    return index % (1 << max(0, index.bit_length() - 4)) == 0


def draw(samples: np.ndarray, columns: int | None = None) -> Image.Image:
    """A picture of samples: a grid of images or volumes, or a scatter plot of points [B, n]; see `Samples`.

    Raises:
      ValueError: the samples are none of these.
    """
    return _scatter(samples) if samples.ndim <= 2 else Image.fromarray(grid(_coloured(samples), columns))


def _coloured(samples):
    """Samples as images [B, height, width, 1, 3 or 4]: slices and channels that are no colours lie side by side."""
    if samples.ndim == 3:
        samples = samples[..., None]
    if samples.ndim == 5:
        count, depth, height, width, channels = samples.shape
        samples = np.moveaxis(samples, 1, 2).reshape(count, height, depth * width, channels)
    if samples.ndim != 4:
        raise ValueError(f"samples must be points, images or volumes to be drawn, found {list(samples.shape)}")
    if samples.shape[-1] not in (1, 3, 4):
        samples = np.concatenate(np.split(samples, samples.shape[-1], axis=3), axis=2)
    return samples


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Images [B, height, width, channels] in [−1, 1] side by side with grey borders, as one uint8 picture.

    A row has `columns` images, by default ⌈√B⌉.
    """
    images = np.pad(to_uint8(images).numpy(), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=128)
    count, height, width, channels = images.shape
    columns = int(np.ceil(np.sqrt(count))) if columns is None else columns
    rows = -(-count // columns)
    images = np.pad(images, [(0, rows * columns - count), (0, 0), (0, 0), (0, 0)], constant_values=128)
    table = images.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    table = table.reshape(rows * height, columns * width, channels)
    return table[..., 0] if channels == 1 else table


def _scatter(points):
    """A scatter plot of the first two numbers of each point; a single number lies on the horizontal axis."""
    from matplotlib.figure import Figure

    points = np.pad(np.reshape(points, [len(points), -1]), [(0, 0), (0, 1)])

    figure = Figure(figsize=(4, 4))
    axes = figure.add_subplot(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
    axes.scatter(*points[:, :2].T, s=4)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer)
