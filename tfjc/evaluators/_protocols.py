"""Interfaces: an evaluator of samples, and the network that one scores with."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfjc.datasets import Dataset
from tfjc.evaluators._ranges import OutputRange
from tfjc.geometry import Generator

Progress = Callable[[int], Any]  # is called with the number of images that were processed since the last call


class Evaluator(Protocol):
    """Scores the samples that a generator makes of fixed latents.

    Attributes:
      z: latents [N, n_z].
      data: the real images.
      found_range: range of the generator's images. It is None before the first call, and for points.
    """

    z: tf.Tensor
    data: Dataset
    found_range: OutputRange | None

    def look(self, generate: Generator) -> OutputRange | None:
        """The range of G's images, from a few samples; None for points."""
        ...

    def prepare(self, progress: Progress | None = None) -> None:
        """Gets what is needed besides the samples: networks, features of real images."""
        ...

    def __call__(self, generate: Generator, *, fast: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """The scores, as a flat dict."""
        ...

    def about(self) -> dict[str, Any]:
        """What the scores were taken with, for records."""
        ...


class Network(Protocol):
    """Images [B, ...] in [−1, 1] → (logits [B, classes], features [B, d])."""

    @property
    def name(self) -> str:
        """Name of the network in the keys of scores."""
        ...

    @property
    def layer(self) -> str:
        """Name of the layer that the features come from."""
        ...

    @property
    def resizing(self) -> str:
        """How images are resized."""
        ...

    @property
    def digest(self) -> str | None:
        """Identifies the weights; None where they are unknown, and features are not cached."""
        ...

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(logits, features)."""
        ...

    def about(self) -> dict[str, Any]:
        """What identifies the network, for records."""
        ...
