"""The devices a run trains on, and in what precision."""

import json
import os

import keras
import tensorflow as tf

from tfjc.support import checks, replicas
from tfjc.support.xla import choose_xla, xla_choice

STRATEGIES = ("default", "mirrored", "multi_worker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


def prepare(jit_compile="auto", *, precision="float32", deterministic=True):
    """Lets GPUs allocate memory as they need it, decides on XLA, and makes operations deterministic; before first use.

    `precision` is Keras's policy for what is built from now on. `deterministic=False` leaves determinism out: some
    operations have no deterministic form, and fail then.
    Raises ValueError for a `jit_compile` other than `auto`, `on` and `off` or another precision.
    """
    choose_xla(jit_compile)
    keras.config.set_dtype_policy(checks.one_of("precision", precision, PRECISIONS))
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the GPU is in use already: growth was decided then
            return


def create(name="default", address=None):
    """The `tf.distribute` strategy called `name`; networks, models and what measures them are to be made in its scope.

    One of a process: TensorFlow's collective operations do not tell a second one's from the first's.

    Args:
      name: "default" (one device), "mirrored" (all GPUs of this machine, or all logical CPUs where there is none),
        "multi_worker" (one process on each of several machines, which TF_CONFIG names) or "tpu".
      address: of the TPU; the local one where there is none.

    Raises:
      ValueError: an unknown name, TF_CONFIG is missing or names no cluster, an address for another strategy than
        "tpu", no TPU is found, or XLA was asked for with several replicas.
    """
    checks.one_of("strategy", name, STRATEGIES)
    if address is not None and name != "tpu":
        raise ValueError(f"an address is for the strategy 'tpu', found {address!r} with {name!r}")
    strategy = {"default": tf.distribute.get_strategy, "mirrored": _mirrored, "multi_worker": _multi_worker}.get(name)
    strategy = strategy() if strategy else _tpu(address)
    if xla_choice() == "on" and strategy.num_replicas_in_sync > 1 and name != "tpu":
        raise ValueError(
            f"--jit_compile=on is for one replica, found {strategy.num_replicas_in_sync}: XLA compiles for one device, "
            "and each replica has its variables on its own"
        )
    return strategy


def _mirrored():
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy([d.name for d in gpus or tf.config.list_logical_devices("CPU")])


def _multi_worker():
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text)
        workers, index = found["cluster"]["worker"], found["task"]["index"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"multi_worker needs TF_CONFIG such as {_EXAMPLE}, found {text or 'none'}") from None
    others = sorted(set(found["cluster"]) - {"worker"})
    if others or found["task"].get("type") != "worker":
        raise ValueError(f"TF_CONFIG must have workers alone, the first of them the chief; found {text}")
    if not (isinstance(index, int) and 0 <= index < len(workers)):
        raise ValueError(f"TF_CONFIG names workers 0 to {len(workers) - 1}, found task.index = {index!r}")
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:  # TensorFlow has made its devices already, or a port is in use
        raise ValueError(
            f"multi_worker cannot be set up with TF_CONFIG {text}: {str(error).splitlines()[0]}"
        ) from error


def _tpu(address):
    local = address in (None, "local")
    if local and not tf.config.list_physical_devices("TPU_SYSTEM"):  # known at once; the attempt can take a minute
        raise ValueError("no TPU at this machine: TensorFlow finds no device TPU_SYSTEM")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address or "local")
        if not local:
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, KeyError, NotImplementedError, tf.errors.OpError) as error:
        raise ValueError(f"no TPU at {address or 'this machine'}: {str(error).splitlines()[0]}") from error


def is_chief():
    """Whether this process writes the records: that of the first worker, or the only one."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    return resolver is None or not resolver.cluster_spec().as_dict() or not resolver.task_id


def describe():
    """The accelerators of this process by kind and name, or "CPU"; with several replicas how many there are."""
    devices = [d for d in tf.config.list_physical_devices() if d.device_type != "CPU"]
    names = [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]
    count = replicas.count()
    return (", ".join(names) or "CPU") + (f", {count} replicas" if count > 1 else "")
