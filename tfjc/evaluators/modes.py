"""Missing modes: how a generator's samples are spread over the classes or modes of the data."""

import numpy as np

from tfjc import datasets
from tfjc.evaluators import _ranges, _samples, scores
from tfjc.evaluators.classifier import classifier

PAPER_COUNT = 360  # samples of Odena et al. 2018, section 3
_CENTRES = {"gaussian_ring": datasets.ring_centres, "gaussian_grid": datasets.grid_centres}


class MissingModes:
    """Counts samples by class: `least_sampled_class`, `missing_classes`, `kl_to_uniform`, `class_histogram`.

    Of the first 360 samples (the paper's number) and of all; keys are `least_sampled_class/mnist/360`. For the Gaussian
    ring and grid, classes are modes, and a sample within three standard deviations of its nearest centre is of high
    quality: `modes_covered` is the number of modes with such a sample, `high_quality` the share of such samples
    (Srivastava et al. 2017, section 4.1).

    Args:
      z: latents [N, n_z] of the samples.
      data: `datasets.Dataset`: its images' classes are those counted.
      labels: [N, ...] for a class-conditional generator.
      classify: callable images [B, ...] → classes [B] out of `classes`; by default the nearest centre for Gaussians,
        else the classifier of the dataset, which is trained at first use.
      classes: how many there are, with `classify`.
      batch_size: samples at once, on each replica of a MirroredStrategy in scope.
      output_range: (black, white) of the generator's images, which are brought to [−1, 1] from there, such as (0, 1);
        found by default, from the generator's last operations and its samples.

    Raises:
      ValueError: data without labels, or arguments of other shapes.
    """

    def __init__(self, z, data, *, labels=None, classify=None, classes=None, batch_size=250, output_range=None):
        self.output_range, self.found_range = _ranges.check_given(output_range), None
        self.z, self.labels = _samples.latents(z, labels)
        self.data, self.batch_size = _samples.dataset(data), _samples.at_once(batch_size)
        if (classify is None) != (classes is None):
            raise ValueError(
                "classify and classes belong together: a function, and the number of its classes; found "
                f"{classify!r}, {classes!r}"
            )
        if classify is None and not data.is_labelled:
            raise ValueError(f"dataset {data.name!r} has no labels: its classes cannot be told without classify=")
        self._classify, self._classes = classify, classes
        self._seen = {"dataset": data.name}

    def look(self, generate):
        """The `OutputRange` of G, before anything that takes long; None for points.

        Raises ValueError where G's samples are unlike the dataset's, or their range is not known for certain.
        """
        return _samples.find_range(generate, self.z, self.labels, self.batch_size, self.data, self.output_range)

    def prepare(self, progress=None):
        """Gets the classifier if there is need of one."""
        if self._classify is None and self.data.name in _CENTRES:
            centres = _CENTRES[self.data.name]()
            self._classes = len(centres)
            self._classify = lambda points: scores.nearest_mode(points, centres, datasets.STANDARD_DEVIATION)
        elif self._classify is None:
            network = classifier(self.data)
            self._classes, self._classify = network.classes, lambda images: np.argmax(network(images)[0], axis=1)
            self._seen |= network.about()

    def __call__(self, generate, *, fast=False, progress=None):
        """The counts of the samples G(z), as a flat dict; `fast` changes nothing here."""
        self.prepare()
        found, self.found_range = [], self.look(generate)
        made = _samples.generated(generate, self.z, self.labels, self.batch_size, self.data, self.found_range)
        for images in made:
            found.append(np.asarray(self._classify(images)))
            if progress:
                progress(len(images))
        return mode_counts(np.concatenate(found), self._classes, self.data.name)

    def about(self):
        """What the counts were taken with."""
        return dict(self._seen)


def mode_counts(classes, count, name):
    """`scores.missing_modes` of the first 360 and of all classes [N], keyed by dataset and number."""
    found = {}
    for number in sorted({min(PAPER_COUNT, len(classes)), len(classes)}):
        part = classes[:number]
        counts = scores.missing_modes(part, count)
        if name in _CENTRES:
            counts["modes_covered"] = count - counts["missing_classes"]
            counts["high_quality"] = float(np.mean(part >= 0))
        found |= {f"{key}/{name}/{number}": value for key, value in counts.items()}
    return found
