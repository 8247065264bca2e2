"""How much of a Jacobian is computed at once."""

import pathlib

import psutil
import tensorflow as tf

from tfjc import checks

_SHARE = 0.25  # of the free memory, for what the passes hold
_GROUP = pathlib.Path("/sys/fs/cgroup")
_MOST_ON_CPU = 2**31  # more is no faster there: of a 32-pixel DCGAN, 128 pairs at once cost 1.2 times what 1,024 do


def split(batch, n_z, inspection, chunk):
    """(samples a block, passes at once or None for all) for at most `chunk` (sample, pass) pairs.

    Where `chunk` is None, as many as a quarter of the device's free memory takes: a pair holds no more than the
    activations of one sample (0.2 to 0.6 of them, measured on DCGANs, a ResNet and an MLP).
    """
    if chunk is None:
        chunk = max(2, _budget() // max(1, inspection.activation_bytes))
    chunk = checks.integer("chunk", chunk, minimum=1)
    if chunk >= batch * n_z:
        return batch, None
    if chunk >= n_z:
        rounds = -(-batch // (chunk // n_z))
        return -(-batch // rounds), None
    rounds = -(-n_z // max(2, chunk))  # TensorFlow's loop takes no fewer than 2 passes
    return 1, -(-n_z // rounds)


def _budget():
    kind = next((kind for kind in ("TPU", "GPU") if tf.config.list_logical_devices(kind)), "CPU")
    free = {"CPU": _free_on_host, "GPU": _free_on_gpu, "TPU": lambda: 2**33}[kind]()
    return int(_SHARE * free) if kind != "CPU" else min(int(_SHARE * free), _MOST_ON_CPU)


def _free_on_host():
    """Bytes that are available, or that the container's limit (cgroup v2) leaves where that is less."""
    free = psutil.virtual_memory().available
    try:
        limit, used = ((_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return free
    return free if limit == "max" else min(free, int(limit) - int(used))


def _free_on_gpu():
    """Bytes that TensorFlow may still allocate on the first GPU."""
    from tensorflow.python.client import device_lib  # the only place where TensorFlow tells its limit

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return max(0, limits[0] - tf.config.experimental.get_memory_info("GPU:0")["current"])
