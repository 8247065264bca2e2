"""Scores from the logits and features of a network: Inception, or a classifier of the dataset."""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfjc.datasets import Dataset
from tfjc.evaluators import _cache, _ranges, _samples, scores, tfgan
from tfjc.evaluators._protocols import Network, Progress
from tfjc.evaluators.classifier import classifier as trained_classifier
from tfjc.evaluators.inception import Inception, check_handle
from tfjc.evaluators.modes import mode_counts
from tfjc.geometry import Generator
from tfjc.support import noise
from tfjc.support.images import to_images

_LEAST = 6  # density and coverage look at five neighbours


class _FeatureEvaluator:
    """Compares the features of samples with the features of as many real images."""

    _names: tuple[str, str, str]  # of the score from logits, the Fréchet distance and the kernel distance

    def __init__(
        self,
        z: ArrayLike,
        data: Dataset,
        *,
        labels: ArrayLike | None = None,
        batch_size: int = 100,
        output_range: Sequence[float] | None = None,
    ) -> None:
        self.output_range = _ranges.check_given(output_range)
        self.z, self.labels = _samples.latents(z, labels, least=_LEAST)
        self.data, self.batch_size = _samples.dataset(data), _samples.at_once(batch_size)
        if len(self.data.images) < _LEAST:
            raise ValueError(f"at least {_LEAST} real images are needed, found {len(self.data.images)}")
        self.found_range: _ranges.OutputRange | None = None
        self._network: Any = None
        self._real: Any = None

    def _make_network(self) -> Network:
        raise NotImplementedError

    def look(self, generate: Generator) -> _ranges.OutputRange | None:
        """The `OutputRange` of G, from a few samples; None for points.

        Raises:
          ValueError: the samples are unlike the dataset's images, or their range is unknown.
        """
        return _samples.find_range(generate, self.z, self.labels, self.batch_size, self.data, self.output_range)

    def prepare(self, progress: Progress | None = None) -> None:
        """Gets the network, and the features of the real images, from this machine's cache or computed now.

        Args:
          progress: called with the number of real images in each computed batch.
        """
        if self._real is not None:
            return
        self._network = self._make_network()
        count = min(len(self.z), len(self.data.images))
        index = np.sort(noise.rng(0, noise.Stream.REAL_IMAGES).permutation(len(self.data.images))[:count])
        images = self.data.images[index]
        key = _cache.digest(self._network.digest, self._network.layer, self._network.resizing, images)
        name = f"{self.data.name}-{self.data.split or 'all'}-{count}-{self._network.name}"

        def compute():
            return self._run(self._batches(images), progress)[1]

        self._real = _cache.array(name, key, compute) if self._network.digest else compute()
        self._warn_of_bias(count)

    def _warn_of_bias(self, real):
        size, least = self._real.shape[1], min(real, len(self.z))
        if least <= size:
            warnings.warn(
                f"{least} samples ({len(self.z)} generated, {real} real) for {size} features: covariances are singular "
                f"and the Fréchet distance is biased upwards; compare it only at equal numbers of samples",
                stacklevel=4,
            )

    def __call__(self, generate: Generator, *, fast: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """The scores of the samples G(z), as a flat dict.

        Args:
          generate: callable z → images, or (z, labels) → images.
          fast: computes the Fréchet and the kernel distance by `tfjc.evaluators.scores` instead of TF-GAN. The numbers
            are equal up to rounding.
          progress: called with the number of samples in each finished batch.

        Raises:
          ValueError: the samples are unlike the dataset's images, not finite (`NotFinite`), or of an unknown range.
        """
        self.prepare()
        self.found_range = self.look(generate)
        images = _samples.generated(generate, self.z, self.labels, self.batch_size, self.data, self.found_range)
        return self._score(images, fast, progress)

    def score(self, images: ArrayLike, *, fast: bool = False) -> dict[str, Any]:
        """The scores of given images [N, ...], under the names of a generator's scores.

        Images are uint8, or floats in the `output_range`, which is inferred by default.
        """
        scaled = _samples.in_range(images, self.data, self.output_range)
        self.prepare()
        return self._score(self._batches(scaled), fast, None)

    def _batches(self, images):
        for start in range(0, len(images), self.batch_size):
            yield to_images(images[start : start + self.batch_size]).numpy()

    def _score(self, batches, fast, progress):
        logits, features = self._run(batches, progress)
        distances = scores if fast else tfgan
        where, count = self._where(), len(features)
        manifolds = scores.prdc(self._real, features)
        return {
            f"{self._names[0]}/{self._network.name}/{count}": tfgan.classifier_score(logits),
            f"{self._names[1]}/{where}/{count}": distances.frechet_distance(self._real, features),
            f"{self._names[2]}/{where}/{count}": distances.kernel_distance(self._real, features),
            **self._more(logits),
            **{f"{name}/{where}/{count}": value for name, value in manifolds.items()},
        }

    def _run(self, batches, progress):
        """(logits [N, classes], features [N, d]) of batches of images, as float32."""
        found = []
        for images in batches:
            found.append(self._network(_samples.check(images, self.data)))
            if progress:
                progress(len(images))
        return tuple(np.concatenate(parts).astype(np.float32) for parts in zip(*found, strict=True))

    def about(self) -> dict[str, Any]:
        """What the scores were taken with: dataset, number of real images, network and its digest."""
        seen = {} if self._real is None else {"real": len(self._real), **self._network.about()}
        data = self.data
        return {"dataset": data.name, "split": data.split, "image_shape": list(data.image_shape), **seen}


class InceptionEvaluator(_FeatureEvaluator):
    """Inception Score, FID and KID, with precision, recall, density and coverage of the features `pool_3`.

    A key holds the number of samples: `fid/inception/10000`. Samples are compared with as many real images, or with all
    if there are fewer. The Inception Score has no splits. Sources: Salimans et al. 2016; Heusel et al. 2017; Bińkowski
    et al. 2018; Kynkäänniemi et al. 2019 (k = 3); Naeem et al. 2020 (k = 5).

    Args:
      z: latents [N, n_z] of the samples.
      data: real images of 1 or 3 channels.
      labels: [N, ...] for a class-conditional generator.
      inception: TF-Hub handle or directory of TF-GAN's Inception module.
      batch_size: images (resized to 299×299) at once, on each replica of a MirroredStrategy in scope.
      output_range: (black, white) of the generator's images, such as (0, 1); they are scaled from it to [−1, 1]. By
        default it is inferred from the generator's last operations and its samples.

    Raises:
      ValueError: the data are no images, or arguments have other shapes.
      Unavailable: at first use, if the module is not on this machine and cannot be downloaded.
    """

    _names = ("inception_score", "fid", "kid")

    def __init__(
        self,
        z: ArrayLike,
        data: Dataset,
        *,
        labels: ArrayLike | None = None,
        inception: str | os.PathLike = tfgan.INCEPTION,
        batch_size: int = 50,
        output_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__(z, data, labels=labels, batch_size=batch_size, output_range=output_range)
        if len(data.image_shape) != 3:
            raise ValueError(f"Inception takes images, found data of shape {list(data.image_shape)}")
        self.inception = check_handle(inception)

    def _make_network(self) -> Network:
        return Inception(self.inception)

    def _where(self):
        return self._network.name

    def _more(self, logits):
        return {}


class ClassifierEvaluator(_FeatureEvaluator):
    """Classifier score, Fréchet and kernel distance on a classifier's penultimate layer, and missing modes.

    These are the paper's scores for MNIST (Odena et al. 2018, section 3), for any labelled dataset. Examples of keys:
    `classifier_score/mnist/10000`, `frechet_distance/mnist/penultimate/10000`, `least_sampled_class/mnist/360`.
    Precision, recall, density and coverage are as in `InceptionEvaluator`, missing modes as in `MissingModes`.

    Args:
      z: latents [N, n_z] of the samples.
      data: dataset with labels, or whose splits have labels.
      labels: [N, ...] for a class-conditional generator.
      classifier: callable images [B, ...] in [−1, 1] → (logits [B, classes], features [B, d]). Its attributes `name`
        and `layer`, "given" and "features" by default, appear in the keys. Without `classifier`, the small network of
        `evaluators.classifier` is used; a machine trains it once, at first use.
      batch_size: images at once, on each replica of a MirroredStrategy in scope.
      output_range: (black, white) of the generator's images, such as (0, 1); they are scaled from it to [−1, 1]. By
        default it is inferred from the generator's last operations and its samples.

    Raises:
      ValueError: without `classifier`, the data have no labels or are no images; or arguments have other shapes.
    """

    _names = ("classifier_score", "frechet_distance", "kernel_distance")

    def __init__(
        self,
        z: ArrayLike,
        data: Dataset,
        *,
        labels: ArrayLike | None = None,
        classifier: Callable[[np.ndarray], Sequence[Any]] | None = None,
        batch_size: int = 250,
        output_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__(z, data, labels=labels, batch_size=batch_size, output_range=output_range)
        if classifier is None and not data.is_labelled:
            raise ValueError(f"dataset {data.name!r} has no labels to train a classifier with")
        if classifier is None and len(data.image_shape) != 3:
            raise ValueError(f"a classifier takes images, found data of shape {list(data.image_shape)}")
        self._classifier = classifier

    def _make_network(self) -> Network:
        return trained_classifier(self.data) if self._classifier is None else _Given(self._classifier)

    def _where(self):
        return f"{self._network.name}/{self._network.layer}"

    def _more(self, logits):
        return mode_counts(np.argmax(logits, axis=1), logits.shape[1], self._network.name)


class _Given:
    """A user's classifier as a `Network`. Its features are not cached."""

    resizing, digest = "none", None

    def __init__(self, classify: Callable[[np.ndarray], Sequence[Any]]) -> None:
        if not callable(classify):
            raise ValueError(f"classifier must be callable, images → (logits, features), found {classify!r}")
        self._classify = classify
        self.name, self.layer = getattr(classify, "name", "given"), getattr(classify, "layer", "features")

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self._classify(images)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise ValueError(f"classifier must return (logits, features), found a {type(found).__name__}")
        return np.asarray(found[0]), np.asarray(found[1])

    def about(self) -> dict[str, Any]:
        return {"classifier": self.name}
