"""Decides whether XLA compiles training and measurements."""

import tensorflow as tf

from tfjc.support import checks, replicas

XLA_CHOICES = ("auto", "on", "off")
_xla = "auto"


def choose_xla(choice: str) -> None:
    """Sets the choice that `use_xla` follows.

    Args:
      choice: "on", "off" or "auto".

    Raises:
      ValueError: any other choice.
    """
    global _xla
    _xla = checks.one_of("jit_compile", choice, XLA_CHOICES)


def xla_choice() -> str:
    """The last choice given to `choose_xla`; "auto" at first."""
    return _xla


def use_xla() -> bool:
    """Whether XLA compiles training and measurements.

    "auto" means yes on GPU and TPU, and no on CPU, where XLA makes transposed convolutions up to 50 times slower.
    Always False with several replicas: their variables live on several devices, and XLA compiles for one device.
    Always False under a `TPUStrategy`, which compiles everything it runs.
    """
    if replicas.count() > 1 or isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return False
    if _xla == "auto":
        return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
    return _xla == "on"


def within_xla() -> bool:
    """Whether XLA will compile the graph that is being traced, because of `use_xla`, a `TPUStrategy` or the caller.

    True where TensorFlow does not tell.
    """
    try:
        from tensorflow.python.ops import control_flow_util  # no public function tells

        inside = control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    except (ImportError, AttributeError):
        return True
    return inside or use_xla() or isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
