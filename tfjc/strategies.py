"""The devices a run trains on."""

import tensorflow as tf

from tfjc import numerics


def prepare(jit_compile="auto", *, deterministic=True):
    """Lets GPUs allocate memory as they need it, decides on XLA, and makes operations deterministic; before first use.

    `deterministic=False` leaves that out: some operations have no deterministic form, and fail then.
    Raises ValueError for a `jit_compile` other than those of `numerics.choose_xla`.
    """
    numerics.choose_xla(jit_compile)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the GPU is in use already: growth was decided then
            return


def describe():
    """The accelerators of this process by kind and name, or "CPU"."""
    devices = [d for d in tf.config.list_physical_devices() if d.device_type != "CPU"]
    names = [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]
    return ", ".join(names) or "CPU"
