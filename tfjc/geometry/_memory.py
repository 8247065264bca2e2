"""Decides how many samples and passes of a Jacobian are computed at once."""

import pathlib

import psutil
import tensorflow as tf

from tfjc.geometry._generator import Inspection
from tfjc.support import checks

_SHARE = 0.25  # of the free memory, for the passes
_GROUP = pathlib.Path("/sys/fs/cgroup")
# More memory is hardly faster on CPUs: for a 32-pixel DCGAN, 128 pairs at once take 1.2 times the time of 1,024.
_MOST_ON_CPU = 2**31


def pairs(inspection: Inspection, chunk: int | None) -> int:
    """The number of (sample, pass) pairs to hold at once: `chunk`, or what fits into a quarter of the free memory.

    A pair needs at most the activations of one sample (0.2 to 0.6 of them, measured on DCGANs, a ResNet and an MLP).
    The number is rounded down to a power of two, so that small changes of free memory do not change the blocks.
    """
    if chunk is not None:
        return checks.integer("chunk", chunk, minimum=1)
    return 2 ** max(1, (_budget() // max(1, inspection.activation_bytes)).bit_length() - 1)


def samples(batch: int, n_z: int, pairs: int) -> int:
    """The number of samples in a block, with n_z passes for each sample. Blocks have nearly equal sizes."""
    rounds = -(-batch // max(1, pairs // n_z))
    return -(-batch // rounds)


def passes(size: int, columns: int, pairs: int | None) -> int | None:
    """The number of passes to run at once, of `columns` passes on a block of `size` samples; None for all."""
    if pairs is None or size * columns <= pairs:
        return None
    at_once = max(2, pairs // size)  # TensorFlow's loop needs at least 2 passes
    return -(-columns // -(-columns // at_once))


def check_free(what: str, size: float, remedy: str) -> None:
    """Raises ValueError where `size`, the bytes that `what` needs, exceeds the free memory of the host."""
    free = _free_on_host()
    if size > free:
        raise ValueError(f"{what} need {size / 2**30:.3g} GiB of memory, {free / 2**30:.3g} GiB are free; {remedy}")


def _budget():
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return _MOST_ON_CPU  # all workers must compute the same blocks, whatever their memory
    kind = next((kind for kind in ("TPU", "GPU") if tf.config.list_logical_devices(kind)), "CPU")
    free = {"CPU": _free_on_host, "GPU": _free_on_gpu, "TPU": lambda: 2**33}[kind]()
    return int(_SHARE * free) if kind != "CPU" else min(int(_SHARE * free), _MOST_ON_CPU)


def _free_on_host():
    """Bytes that are available: the smaller of the machine's and the container's (cgroup v2) free memory."""
    free = psutil.virtual_memory().available
    try:
        limit, used, stat = ((_GROUP / f"memory.{name}").read_text().strip() for name in ("max", "current", "stat"))
    except OSError:
        return free
    if limit == "max":
        return free
    cache = dict(line.split() for line in stat.splitlines()).get("inactive_file", 0)  # freed by the kernel on demand
    return min(free, int(limit) - int(used) + int(cache))


def _free_on_gpu():
    """Bytes that TensorFlow may still allocate on the first GPU."""
    from tensorflow.python.client import device_lib  # TensorFlow's only source of the memory limit

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return max(0, limits[0] - tf.config.experimental.get_memory_info("GPU:0")["current"])
