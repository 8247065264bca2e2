"""The range of a generator's images, found or given, and images brought from there to [−1, 1]."""

import numpy as np
import tensorflow as tf

from tfjc import geometry
from tfjc.evaluators import _bounds
from tfjc.support import checks

KNOWN = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-0.5, 0.5))
LOOK = 1000  # samples from which values alone tell [0, 1]
_SLACK = 5e-4  # of a range's width, by which rounding may exceed it
_CLIPPED = 0.02  # of its width, by which clipping to a given range may move values on average
_REMEDY = "name it: output_range=(LOW, HIGH), --output_range=LOW,HIGH on the command line"


class Seen:
    """The extent of the images seen so far: `low`, `high`, `count`, and their type."""

    def __init__(self):
        self.low, self.high, self.count, self.dtype = np.inf, -np.inf, 0, None

    def add(self, images: np.ndarray) -> "Seen":
        """Looks at more images [B, ...]."""
        self.low, self.high = min(self.low, float(images.min())), max(self.high, float(images.max()))
        self.count += len(images)
        self.dtype = images.dtype
        return self

    def within(self, low: float, high: float) -> bool:
        """Whether all values lie in [low, high], but for rounding."""
        slack = _SLACK * (high - low)
        return self.low >= low - slack and self.high <= high + slack

    def __str__(self):
        return f"[{self.low:g}, {self.high:g}] in {self.count} samples"


class OutputRange:
    """Which values of a generator are black and white, how that is known, and the images in [−1, 1].

    Attributes:
      low, high: the range.
      reason: how it is known: "given", "operations" (the last of the generator's graph), "type" or "values".
      clipped: the share of all values so far that were outside a range that was given, and were clipped to it.
    """

    def __init__(self, low: float, high: float, reason: str):
        self.low, self.high, self.reason = float(low), float(high), reason
        self._seen, self._values, self._outside, self._moved = Seen(), 0, 0, 0.0

    @property
    def clipped(self) -> float:
        """The share of values that were clipped."""
        return self._outside / max(1, self._values)

    def scale(self, images: np.ndarray) -> np.ndarray:
        """Images as float32 in [−1, 1]: (x − low)/((high − low)/2) − 1.

        Values outside of a range that was given are clipped; else they raise ValueError.
        """
        now = Seen().add(images)
        self._seen.add(images)
        images = np.asarray(images, np.float32)
        if self.reason == "given":
            images = self._clip(images)
        elif not now.within(self.low, self.high):
            raise ValueError(
                f"images must lie in {self}, which is the generator's range by its {self.reason}, found {now}; "
                f"if its range is another one, {_REMEDY} (values outside it are clipped)"
            )
        return images if (self.low, self.high) == (-1.0, 1.0) else (images - self.low) / _half(self) - np.float32(1.0)

    def _clip(self, images):
        within = np.clip(images, np.float32(self.low), np.float32(self.high))
        self._values += images.size
        self._outside += np.count_nonzero(within != images)
        self._moved += float(np.sum(np.abs(within - images), dtype=np.float64))
        return within

    def check(self) -> None:
        """Raises ValueError where all images together contradict the range."""
        if self.reason == "given" and self._moved > _CLIPPED * (self.high - self.low) * max(1, self._values):
            raise ValueError(
                f"output_range is ({self.low:g}, {self.high:g}), but values run over {self._seen}, and "
                f"{self.clipped:.0%} of them are outside: that is not the generator's range"
            )
        if self.high == 255.0 and self._seen.within(0.0, 1.0):
            raise ValueError(
                f"values run over {self._seen}, as those of a generator of [0, 1] do, not over {self}; {_REMEDY}"
            )

    def __str__(self):
        return f"[{self.low:g}, {self.high:g}]"


def _half(found):
    return np.float32((found.high - found.low) / 2.0)


def _fills(seen, low, high):
    """Whether values come near both ends of a range: within 2 % of the lower one, 10 % of the upper one."""
    return seen.low <= low + 0.02 * (high - low) and seen.high >= high - 0.1 * (high - low)


def check_given(output_range: tuple | None) -> tuple[float, float] | None:
    """`output_range` as two numbers, the lower one first; None stays None. Raises ValueError for anything else."""
    if output_range is None:
        return None
    if not isinstance(output_range, (tuple, list)) or len(output_range) != 2:
        raise ValueError(f"output_range must be two numbers, such as (0, 1) or (0, 255), found {output_range!r}")
    low, high = (checks.real("output_range", value) for value in output_range)
    if not low < high:
        raise ValueError(f"output_range must be the lower and the higher number, found ({low:g}, {high:g})")
    return low, high


def from_given(given: tuple[float, float], bounds: tuple[float, float]) -> OutputRange:
    """The range that was given; ValueError where the generator's last operations say another one."""
    known = _known(bounds)
    if known not in (None, given):
        raise ValueError(
            f"output_range is ({given[0]:g}, {given[1]:g}), but the generator's last operations give values in "
            f"[{known[0]:g}, {known[1]:g}]"
        )
    return OutputRange(*given, "given")


def from_values(seen: Seen) -> OutputRange | None:
    """The range that values alone tell, also of a few images; None where they do not tell.

    - uint8 is in [0, 255], whatever the values.
    - Values in [−1, 1] of which some are negative, and some beyond ±0.5, are in [−1, 1].
    - Values in [0, 255] of which some are over 127 are in [0, 255].
    """
    if seen.dtype == np.uint8:
        return OutputRange(0.0, 255.0, "type")
    if seen.within(-1.0, 1.0) and not seen.within(0.0, 1.0) and not seen.within(-0.5, 0.5):
        return OutputRange(-1.0, 1.0, "values")
    return OutputRange(0.0, 255.0, "values") if seen.within(0.0, 255.0) and seen.high > 127.0 else None


def from_operations(bounds: tuple[float, float]) -> OutputRange | None:
    """The known range that the last operations of a generator say, or None."""
    known = _known(bounds)
    return None if known is None else OutputRange(known[0], known[1], "operations")


def _known(bounds):
    return next((known for known in KNOWN if np.allclose(bounds, known, atol=_SLACK * (known[1] - known[0]))), None)


def from_many(seen: Seen, dark: bool) -> OutputRange:
    """The range that the values of all samples looked at tell, where `from_values` did not.

    - Values of 1,000 samples or more that run from 0 to 1 are in [0, 1], where real images are not as bright (`dark`:
      some of their values are under −0.5).
    - Values around 0 are in [−1, 1], unless they run from −0.5 to 0.5.

    Raises ValueError for anything else, with what was found.
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


def bounds(generate, z, labels) -> tuple[float, float]:
    """(low, high) of G's values by the last operations of its graph; infinite where that is not known."""
    arguments = [tensor for tensor in (z, labels) if tensor is not None]
    return _bounds.of(lambda *tensors: tf.convert_to_tensor(geometry.run(generate, *tensors)), *arguments)


def tell(generate, z, images: np.ndarray, labels=None) -> OutputRange | None:
    """The range of G's images at z, by its operations or these values; None where that cannot be told."""
    return from_operations(bounds(generate, z, labels)) or from_values(Seen().add(images))
