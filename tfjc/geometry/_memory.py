"""How much of a Jacobian is computed at once."""

import pathlib

import psutil
import tensorflow as tf

from tfjc.support import checks

_SHARE = 0.25  # of the free memory, for what the passes hold
_GROUP = pathlib.Path("/sys/fs/cgroup")
_MOST_ON_CPU = 2**31  # more is no faster there: of a 32-pixel DCGAN, 128 pairs at once cost 1.2 times what 1,024 do


def pairs(inspection, chunk):
    """How many (sample, pass) pairs to hold at once: `chunk`, or where it is None what a quarter of free memory takes.

    A pair holds no more than the activations of one sample (0.2 to 0.6 of them, measured on DCGANs, a ResNet and an
    MLP). Rounded down to a power of two, so that a little more or less memory does not change the plan.
    """
    if chunk is not None:
        return checks.integer("chunk", chunk, minimum=1)
    return 2 ** max(1, (_budget() // max(1, inspection.activation_bytes)).bit_length() - 1)


def samples(batch, n_z, pairs):
    """Samples in a block, for n_z passes each: blocks are of even size."""
    rounds = -(-batch // max(1, pairs // n_z))
    return -(-batch // rounds)


def passes(size, columns, pairs):
    """How many of `columns` passes to run at once on a block of `size` samples; None for all."""
    if pairs is None or size * columns <= pairs:
        return None
    at_once = max(2, pairs // size)  # TensorFlow's loop takes no fewer than 2 passes
    return -(-columns // -(-columns // at_once))


def _budget():
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return _MOST_ON_CPU  # all workers must take the same blocks, whatever memory each has
    kind = next((kind for kind in ("TPU", "GPU") if tf.config.list_logical_devices(kind)), "CPU")
    free = {"CPU": _free_on_host, "GPU": _free_on_gpu, "TPU": lambda: 2**33}[kind]()
    return int(_SHARE * free) if kind != "CPU" else min(int(_SHARE * free), _MOST_ON_CPU)


def _free_on_host():
    """Bytes that are available, or that the container's limit (cgroup v2) leaves where that is less."""
    free = psutil.virtual_memory().available
    try:
        limit, used, stat = ((_GROUP / f"memory.{name}").read_text().strip() for name in ("max", "current", "stat"))
    except OSError:
        return free
    if limit == "max":
        return free
    cache = dict(line.split() for line in stat.splitlines()).get("inactive_file", 0)  # given back when needed
    return min(free, int(limit) - int(used) + int(cache))


def _free_on_gpu():
    """Bytes that TensorFlow may still allocate on the first GPU."""
    from tensorflow.python.client import device_lib  # the only place where TensorFlow tells its limit

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return max(0, limits[0] - tf.config.experimental.get_memory_info("GPU:0")["current"])
