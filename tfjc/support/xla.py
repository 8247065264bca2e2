"""Whether training and measurements are compiled with XLA."""

import tensorflow as tf

from tfjc.support import checks, replicas

XLA_CHOICES = ("auto", "on", "off")


_xla = "auto"


def choose_xla(choice):
    """Sets what `use_xla` answers from now on: `on`, `off`, or `auto`; raises ValueError for any other choice."""
    global _xla
    _xla = checks.one_of("jit_compile", choice, XLA_CHOICES)


def xla_choice():
    """What `choose_xla` was told last: `auto` at first."""
    return _xla


def use_xla():
    """Whether training and measurements are compiled with XLA: `auto` (the default) is on for GPU and TPU, not for CPU.

    On CPU transposed convolutions are up to 50 times slower under XLA. Not with several replicas, whose variables live
    on several devices, while XLA compiles for one; on TPUs the strategy compiles what it runs.
    """
    if replicas.count() > 1 or isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return False
    if _xla == "auto":
        return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
    return _xla == "on"


def within_xla():
    """Whether XLA compiles what is being traced, by `use_xla` or by whoever traces it; True where that is not known."""
    try:
        from tensorflow.python.ops import control_flow_util  # there is no public way to ask

        inside = control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    except (ImportError, AttributeError):
        return True
    return inside or use_xla() or isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
