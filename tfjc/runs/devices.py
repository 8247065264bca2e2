"""The devices of a run, and their precision."""

import json
import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfjc.runs import meeting
from tfjc.support import checks, replicas
from tfjc.support.xla import choose_xla, xla_choice

STRATEGIES = ("default", "mirrored", "multi_worker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


def prepare(jit_compile: str = "auto", *, precision: str = "float32", deterministic: bool = True) -> None:
    """Sets XLA, precision, determinism, and memory growth of GPUs. Call it before TensorFlow uses a device.

    Args:
      jit_compile: XLA, "auto", "on" or "off".
      precision: Keras's policy for networks built afterwards, "float32", "mixed_bfloat16" or "mixed_float16".
      deterministic: makes operations deterministic. Operations without a deterministic form then raise an error.

    Raises:
      ValueError: an unknown `jit_compile` or `precision`.
    """
    choose_xla(jit_compile)
    keras.config.set_dtype_policy(checks.one_of("precision", precision, PRECISIONS))
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the GPU is in use, and its memory growth is fixed
            return


def create(
    name: str = "default", address: str | None = None, agreement: Mapping[str, Any] | None = None
) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy called `name`. Make networks, models, and callbacks in its scope.

    Create one per process: TensorFlow mixes up the collective operations of two strategies.

    Args:
      name: "default" (one device), "mirrored" (all GPUs of this machine, or all logical CPUs without a GPU),
        "multi_worker" (one process on each machine that TF_CONFIG names) or "tpu".
      address: of the TPU; the local TPU by default.
      agreement: {name: JSON data} that must be the same in all workers of "multi_worker", as in `meeting.meet`.

    Raises:
      ValueError: the name is unknown, TF_CONFIG is missing or names no cluster, workers do not come or disagree, an
        address is given for another strategy than "tpu", no TPU is found, or XLA is on with several replicas.
    """
    checks.one_of("strategy", name, STRATEGIES)
    if address is not None and name != "tpu":
        raise ValueError(f"an address is for the strategy 'tpu', found {address!r} with {name!r}")
    makers = {"default": tf.distribute.get_strategy, "mirrored": _mirrored, "tpu": lambda: _tpu(address)}
    strategy = makers[name]() if name in makers else _multi_worker(agreement or {})
    if xla_choice() == "on" and strategy.num_replicas_in_sync > 1 and name != "tpu":
        raise ValueError(
            f"--jit_compile=on is for one replica, found {strategy.num_replicas_in_sync}: XLA compiles for one device, "
            "and each replica has its variables on its own"
        )
    return strategy


def _mirrored():
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy([d.name for d in gpus or tf.config.list_logical_devices("CPU")])


def _multi_worker(agreement):
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text)
        workers, index, kind = found["cluster"]["worker"], found["task"]["index"], found["task"].get("type")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"multi_worker needs TF_CONFIG such as {_EXAMPLE}, found {text or 'none'}") from None
    others = sorted(set(found["cluster"]) - {"worker"})
    if others or kind != "worker":
        raise ValueError(f"TF_CONFIG must have only workers, of which the first is the chief; found {text}")
    if not isinstance(workers, list) or not workers or len(set(map(str, workers))) < len(workers):
        raise ValueError(f"cluster.worker in TF_CONFIG must be a list of different addresses, found {workers!r}")
    for worker in workers:
        meeting.address(worker)
    if type(index) is not int or not 0 <= index < len(workers):
        raise ValueError(f"TF_CONFIG names workers 0 to {len(workers) - 1}, found task.index = {index!r}")
    meeting.meet(workers, index, agreement)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:  # TensorFlow is initialised already, or a port is in use
        raise ValueError(
            f"multi_worker cannot be set up with TF_CONFIG {text}: {str(error).splitlines()[0]}"
        ) from error


def _tpu(address):
    local = address in (None, "local")
    if local and not tf.config.list_physical_devices("TPU_SYSTEM"):  # without this check, failing can take a minute
        raise ValueError("no TPU at this machine: TensorFlow finds no device TPU_SYSTEM")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address or "local")
        if not local:
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, KeyError, NotImplementedError, tf.errors.OpError) as error:
        raise ValueError(f"no TPU at {address or 'this machine'}: {str(error).splitlines()[0]}") from error


def is_chief() -> bool:
    """Whether this process writes the records: it is the first worker, or the only one."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    return resolver is None or not resolver.cluster_spec().as_dict() or not resolver.task_id


def describe() -> str:
    """The names of this process's accelerators, or "CPU"; and the number of replicas, if there are several."""
    devices = [d for d in tf.config.list_physical_devices() if d.device_type != "CPU"]
    names = [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]
    count = replicas.count()
    return (", ".join(names) or "CPU") + (f", {count} replicas" if count > 1 else "")
