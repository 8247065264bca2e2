"""The range of a generator's images, given or inferred, and the scaling of images from this range to [−1, 1]."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfjc import geometry
from tfjc.support import bounds as _bounds
from tfjc.support import checks

KNOWN = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-0.5, 0.5))
LOOK = 1000  # with so many samples, values alone can tell [0, 1]
_SLACK = 5e-4  # rounding may exceed a range by this share of its width
_CLIPPED = 0.02  # clipping to a given range may move values by this share of its width, on average
_REASONS = {
    "operations": "the generator's last operations",
    "type": "their type",
    "values": "the values of the first ones",
}
_REMEDY = "name it: output_range=(LOW, HIGH), --output_range=LOW,HIGH on the command line"


class Seen:
    """The least and greatest value (`low`, `high`), the number (`count`) and the type of the images seen so far."""

    def __init__(self) -> None:
        self.low, self.high, self.count = np.inf, -np.inf, 0
        self.dtype: np.dtype | None = None

    def add(self, images: np.ndarray) -> "Seen":
        """Takes more images [B, ...] into account; returns self."""
        self.low, self.high = min(self.low, float(images.min())), max(self.high, float(images.max()))
        self.count += len(images)
        self.dtype = images.dtype
        return self

    def within(self, low: float, high: float) -> bool:
        """Whether all values lie in [low, high], up to rounding."""
        slack = _SLACK * (high - low)
        return self.low >= low - slack and self.high <= high + slack

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}] in {self.count} samples"


class OutputRange:
    """The values of a generator that are black and white. `scale` maps its images to [−1, 1].

    Attributes:
      low, high: the range.
      reason: how the range is known: "given", "operations" (the last ones of the generator's graph), "type" or
        "values".
    """

    def __init__(self, low: float, high: float, reason: str) -> None:
        self.low, self.high, self.reason = float(low), float(high), reason
        self._seen, self._values, self._outside, self._moved = Seen(), 0, 0, 0.0

    @property
    def clipped(self) -> float:
        """The share of all values so far that were clipped to a given range."""
        return self._outside / max(1, self._values)

    def scale(self, images: np.ndarray) -> np.ndarray:
        """Images as float32 in [−1, 1]: (x − low)/((high − low)/2) − 1.

        Values outside a given range are clipped.

        Raises:
          ValueError: values lie outside an inferred range.
        """
        now = Seen().add(images)
        self._seen.add(images)
        images = np.asarray(images, np.float32)
        if self.reason == "given":
            images = self._clip(images)
        elif not now.within(self.low, self.high):
            raise ValueError(
                f"images must lie in {self}, their range by {_REASONS[self.reason]}, found {now}; "
                f"if their range is another, {_REMEDY} (values outside are then clipped)"
            )
        return images if (self.low, self.high) == (-1.0, 1.0) else (images - self.low) / _half(self) - np.float32(1.0)

    def _clip(self, images):
        within = np.clip(images, np.float32(self.low), np.float32(self.high))
        self._values += images.size
        self._outside += np.count_nonzero(within != images)
        self._moved += float(np.sum(np.abs(within - images), dtype=np.float64))
        return within

    def check(self) -> None:
        """Raises ValueError if the images so far contradict the range."""
        if self.reason == "given" and self._moved > _CLIPPED * (self.high - self.low) * max(1, self._values):
            raise ValueError(
                f"output_range is ({self.low:g}, {self.high:g}), but values run over {self._seen}, and "
                f"{self.clipped:.0%} of them are outside: output_range is not the generator's range"
            )
        if self.high == 255.0 and self._seen.within(0.0, 1.0):
            raise ValueError(
                f"expected values over {self}, found values over {self._seen}, as a generator with range [0, 1] makes; "
                f"{_REMEDY}"
            )

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


def _half(found):
    return np.float32((found.high - found.low) / 2.0)


def _fills(seen, low, high):
    """Whether values come near both ends of a range: to within 2 % of its width below, 10 % above."""
    return seen.low <= low + 0.02 * (high - low) and seen.high >= high - 0.1 * (high - low)


def check_given(output_range: Sequence[float] | None) -> tuple[float, float] | None:
    """`output_range` as (low, high), or None for None. Raises ValueError for anything but two ascending numbers."""
    if output_range is None:
        return None
    if not isinstance(output_range, (tuple, list)) or len(output_range) != 2:
        raise ValueError(f"output_range must be two numbers, such as (0, 1) or (0, 255), found {output_range!r}")
    low, high = (checks.real("output_range", value) for value in output_range)
    if not low < high:
        raise ValueError(f"output_range must be the lower and then the higher number, found ({low:g}, {high:g})")
    return low, high


def from_given(given: tuple[float, float], bounds: tuple[float, float]) -> OutputRange:
    """The given range. Raises ValueError if the generator's last operations have another known range."""
    known = _known(bounds)
    if known not in (None, given):
        raise ValueError(
            f"output_range is ({given[0]:g}, {given[1]:g}), but the generator's last operations give values in "
            f"[{known[0]:g}, {known[1]:g}]"
        )
    return OutputRange(*given, "given")


def from_values(seen: Seen) -> OutputRange | None:
    """The range that follows from the values of even a few images; None if they leave it open.

    - uint8 images have [0, 255].
    - Values in [−1, 1], of which some are negative and some beyond ±0.5, have [−1, 1].
    - Values in [0, 255], of which some are over 127, have [0, 255].
    """
    if seen.dtype == np.uint8:
        return OutputRange(0.0, 255.0, "type")
    if seen.within(-1.0, 1.0) and not seen.within(0.0, 1.0) and not seen.within(-0.5, 0.5):
        return OutputRange(-1.0, 1.0, "values")
    return OutputRange(0.0, 255.0, "values") if seen.within(0.0, 255.0) and seen.high > 127.0 else None


def from_operations(bounds: tuple[float, float]) -> OutputRange | None:
    """The known range that equals the bounds of the generator's last operations, or None."""
    known = _known(bounds)
    return None if known is None else OutputRange(known[0], known[1], "operations")


def _known(bounds):
    return next((known for known in KNOWN if np.allclose(bounds, known, atol=_SLACK * (known[1] - known[0]))), None)


def from_many(seen: Seen, dark: bool) -> OutputRange:
    """The range that follows from the values of all samples, where `from_values` leaves it open.

    - Values of 1,000 samples or more that run from 0 to 1 have [0, 1], if the real images are dark: some of their
      values, in [−1, 1], are under −0.5.
    - Values in [−0.5, 0.5], of which some are negative, have [−1, 1], unless they come near both ends of [−0.5, 0.5].

    Raises:
      ValueError: neither rule applies.
    """
    if seen.within(0.0, 1.0) and _fills(seen, 0.0, 1.0) and seen.count >= LOOK and dark:
        return OutputRange(0.0, 1.0, "values")
    if seen.within(-0.5, 0.5) and not seen.within(0.0, 1.0) and not _fills(seen, -0.5, 0.5):
        return OutputRange(-1.0, 1.0, "values")
    doubt = "which several ranges hold" if seen.within(0.0, 255.0) or seen.within(-0.5, 0.5) else "outside of these"
    raise ValueError(
        "the range of the images must be known to be [-1, 1], [0, 1] or [0, 255], "
        f"found values in {seen}, {doubt}; {_REMEDY}"
    )


def bounds(generate: geometry.Generator, z: tf.Tensor, labels: tf.Tensor | None) -> tuple[float, float]:
    """(low, high) of G's values by the last operations of its graph; infinite where unknown."""
    arguments = [tensor for tensor in (z, labels) if tensor is not None]
    return _bounds.of(lambda *tensors: tf.convert_to_tensor(geometry.run(generate, *tensors)), *arguments)


def tell(
    generate: geometry.Generator, z: tf.Tensor, images: np.ndarray, labels: tf.Tensor | None = None
) -> OutputRange | None:
    """The range of G's images by its last operations, or else by the values of its `images` at z; None if unknown."""
    return from_operations(bounds(generate, z, labels)) or from_values(Seen().add(images))
