"""Finds the first tensor of a training that is not finite, at the step at which it is not."""

import threading

import keras
import numpy as np
import tensorflow as tf

from tfjc.support import precision


class Diverged(FloatingPointError):
    """A training whose losses, gradients or weights are not finite any more.

    Attributes:
      step: at which they were not, counted from 1.
      tensor: the first one, such as "critic_loss", "gradient of generator/dense/kernel" or "weight critic/conv/kernel".
    """

    def __init__(self, step, tensor):
        super().__init__(f"training diverged at step {step}: {tensor} is not finite")
        self.step, self.tensor = step, tensor


class Watch:
    """Looks at tensors while a step runs, and tells the host afterwards which was the first that is not finite.

    In the step each tensor is summed: a sum is finite where all terms are and stay under 1e38 together. The first whose
    sum is not is noted in one number, which the host reads when the step is done. The same under XLA and on several
    replicas, each of which has a note of its own. The note is no part of checkpoints, and stays until it has been told:
    the step is right where several are made in one execution.
    """

    def __init__(self, **networks):
        self._networks = networks
        self.note = keras.Variable(0, dtype="int64", trainable=False, synchronization="on_read", aggregation="sum")
        self._names, self._traced = [], threading.local()  # replicas are traced in threads of their own

    def look(self, named):
        """Adds pairs (name, tensor), of any of a step's tensors; what is found in the first is told."""
        self._seen().extend((name, tf.reduce_sum(precision.full(tensor))) for name, tensor in named)

    def look_at_update(self, optimizer, gradients, variables):
        """Adds the gradients that an optimiser was given, and the weights that it made of them."""
        names = [self._named(variable) for variable in variables]
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # it leaves out what is not finite
            found = zip(names, gradients, strict=True)
            self.look((f"gradient of {name}", gradient) for name, gradient in found if gradient is not None)
        self.look((f"weight {name}", variable) for name, variable in zip(names, variables, strict=True))

    def close(self, step):
        """Ends a step, the one numbered `step`: notes the first tensor looked at since the last that is not finite."""
        seen = self._seen()
        names, sums = zip(*seen, strict=True)
        seen.clear()
        lost = tf.logical_not(tf.math.is_finite(tf.stack([tf.cast(total, tf.float32) for total in sums])))
        first = tf.argmax(tf.cast(lost, tf.int32))
        found = 1 + first + self._index(names) + _MOST * tf.cast(step, tf.int64)
        is_new = tf.logical_and(tf.reduce_any(lost), tf.equal(self.note.value, 0))
        self.note.assign(tf.where(is_new, found, self.note.value))

    def after(self, function):
        """`function`, and then `tell`."""

        def watched(*arguments):
            results = function(*arguments)
            self.tell()
            return results

        return watched

    def tell(self):
        """Raises `Diverged` where something has been noted, once."""
        notes = getattr(self.note.value, "values", [self.note.value])  # one of each replica
        found = min((note for note in (int(note.numpy()) for note in notes) if note), default=0)
        if found:
            self.note.assign(0)
            raise Diverged(found // _MOST, self._names[found % _MOST - 1])

    def _seen(self):
        """The pairs (name, sum) of the step that is being traced: none are left of one whose tracing failed."""
        graph = tf.compat.v1.get_default_graph()
        if getattr(self._traced, "graph", None) is not graph:
            self._traced.graph, self._traced.seen = graph, []
        return self._traced.seen

    def _named(self, variable):
        """A variable's name with its network's before it."""
        for name, network in self._networks.items():
            if network is not None and any(variable is v for v in network.trainable_variables):
                return f"{name}/{variable.path}"
        return variable.path

    def _index(self, names):
        """Where these names begin in the table of names."""
        for index in range(len(self._names)):
            if self._names[index : index + len(names)] == list(names):
                return index
        self._names.extend(names)
        return len(self._names) - len(names)


def check_finite(model):
    """Raises `Diverged` where a weight, a moving statistic or a number of the optimisers of a model is not finite.

    For what a step does not look at, and before a checkpoint is written.
    """
    pairs = [(model.generator, model.generator_optimizer)]
    pairs += [(model.critic, model.critic_optimizer)] if model.critic is not None else []
    for network, optimizer in pairs:
        kept = [v for v in network.variables if v.trainable or "moving_" in v.path]
        for v in [*kept, *optimizer.variables]:
            if not np.isfinite(np.sum(v.numpy(), dtype=np.float64)):
                raise Diverged(int(model.step.numpy()), v.path)


_MOST = 1 << 20  # names of tensors; a note is their index with the step above it
