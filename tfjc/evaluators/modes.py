"""Missing modes: how a generator's samples are spread over the classes or modes of the data."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfjc import datasets
from tfjc.evaluators import _ranges, _samples, scores
from tfjc.evaluators._protocols import Progress
from tfjc.evaluators.classifier import classifier
from tfjc.geometry import Generator

PAPER_COUNT = 360  # samples in Odena et al. 2018, section 3
_CENTRES = {"gaussian_ring": datasets.ring_centres, "gaussian_grid": datasets.grid_centres}


class MissingModes:
    """Counts samples by class: `least_sampled_class`, `missing_classes`, `kl_to_uniform`, `class_histogram`.

    Counts are taken of the first 360 samples, the paper's number, and of all samples. A key holds their number:
    `least_sampled_class/mnist/360`. Classes of the Gaussian ring and grid are their modes. There, a sample is of high
    quality if it lies within three standard deviations of its nearest centre. `high_quality` is the share of such
    samples, and `modes_covered` the number of modes that have one (Srivastava et al. 2017, section 4.1).

    Args:
      z: latents [N, n_z] of the samples.
      data: the dataset whose classes are counted.
      labels: [N, ...] for a class-conditional generator.
      classify: callable images [B, ...] → classes [B] in [0, `classes`), or −1 for none. By default the nearest centre
        for Gaussians, else the classifier of the dataset, which is trained at first use.
      classes: number of classes; needed with `classify`.
      batch_size: samples at once, on each replica of a MirroredStrategy in scope.
      output_range: (black, white) of the generator's images, such as (0, 1); they are scaled from it to [−1, 1]. By
        default it is inferred from the generator's last operations and its samples.

    Raises:
      ValueError: without `classify`, the data have no labels; or arguments have other shapes.
    """

    def __init__(
        self,
        z: ArrayLike,
        data: datasets.Dataset,
        *,
        labels: ArrayLike | None = None,
        classify: Callable[[np.ndarray], Any] | None = None,
        classes: int | None = None,
        batch_size: int = 250,
        output_range: Sequence[float] | None = None,
    ) -> None:
        self.output_range = _ranges.check_given(output_range)
        self.found_range: _ranges.OutputRange | None = None
        self.z, self.labels = _samples.latents(z, labels)
        self.data, self.batch_size = _samples.dataset(data), _samples.at_once(batch_size)
        if (classify is None) != (classes is None):
            raise ValueError(
                "classify and classes belong together: a function, and the number of its classes; found "
                f"{classify!r}, {classes!r}"
            )
        if classify is None and not data.is_labelled:
            raise ValueError(f"dataset {data.name!r} has no labels: classes are counted only with classify=")
        self._classify: Any = classify
        self._classes: Any = classes
        self._seen: dict[str, Any] = {"dataset": data.name}

    def look(self, generate: Generator) -> _ranges.OutputRange | None:
        """The `OutputRange` of G, from a few samples; None for points.

        Raises:
          ValueError: the samples are unlike the dataset's images, or their range is unknown.
        """
        return _samples.find_range(generate, self.z, self.labels, self.batch_size, self.data, self.output_range)

    def prepare(self, progress: Progress | None = None) -> None:
        """Gets the classifier where `classify` was not given."""
        if self._classify is None and self.data.name in _CENTRES:
            centres = _CENTRES[self.data.name]()
            self._classes = len(centres)
            self._classify = lambda points: scores.nearest_mode(points, centres, datasets.STANDARD_DEVIATION)
        elif self._classify is None:
            network = classifier(self.data)
            self._classes, self._classify = network.classes, lambda images: np.argmax(network(images)[0], axis=1)
            self._seen |= network.about()

    def __call__(self, generate: Generator, *, fast: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """The counts of the samples G(z), as a flat dict. `fast` has no effect."""
        self.prepare()
        found, self.found_range = [], self.look(generate)
        made = _samples.generated(generate, self.z, self.labels, self.batch_size, self.data, self.found_range)
        for images in made:
            found.append(np.asarray(self._classify(images)))
            if progress:
                progress(len(images))
        return mode_counts(np.concatenate(found), self._classes, self.data.name)

    def about(self) -> dict[str, Any]:
        """What the counts were taken with: the dataset, and the classifier where one was trained."""
        return dict(self._seen)


def mode_counts(classes: np.ndarray, count: int, name: str) -> dict[str, Any]:
    """`scores.missing_modes` of the first 360 and of all classes [N]. Keys hold dataset and number of samples."""
    found: dict[str, Any] = {}
    for number in sorted({min(PAPER_COUNT, len(classes)), len(classes)}):
        part = classes[:number]
        counts = scores.missing_modes(part, count)
        if name in _CENTRES:
            counts["modes_covered"] = count - counts["missing_classes"]
            counts["high_quality"] = float(np.mean(part >= 0))
        found |= {f"{key}/{name}/{number}": value for key, value in counts.items()}
    return found
