"""Finds the first tensor of a training that is not finite, and the step at which it appears."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfjc.support import precision


class Diverged(FloatingPointError):
    """A training whose losses, gradients or weights are not finite.

    Attributes:
      step: the first step with such a tensor, counted from 1.
      tensor: the first such tensor: "critic_loss", "gradient of generator/dense/kernel", "weight critic/conv/kernel".
    """

    def __init__(self, step: int, tensor: str) -> None:
        super().__init__(f"training diverged at step {step}: {tensor} is not finite")
        self.step, self.tensor = step, tensor


class Watch:
    """Finds the first tensor of a step that is not finite, and raises `Diverged` on the host after the step.

    Within the step, each tensor is summed. A sum is finite if its terms are finite and together stay below 1e38. The
    first tensor whose sum is not finite is written to one number, `note`, which the host reads after the step. This
    works under XLA, and on several replicas, each with its own note. Checkpoints do not contain the note. The note
    stays until the host has read it, so that the step is right where one execution runs several steps.

    Args:
      networks: the networks by name; the names of weights and gradients begin with them.
    """

    def __init__(self, **networks: keras.Model | None) -> None:
        self._networks = networks
        self.note = keras.Variable(0, dtype="int64", trainable=False, synchronization="on_read", aggregation="sum")
        self._names: list[str] = []
        self._traced = threading.local()  # each replica is traced in its own thread

    def look(self, named: Iterable[tuple[str, tf.Tensor]]) -> None:
        """Adds pairs (name, tensor) of the current step, in the order in which they are checked."""
        self._seen().extend((name, tf.reduce_sum(precision.full(tensor))) for name, tensor in named)

    def look_at_update(
        self,
        optimizer: keras.optimizers.Optimizer,
        gradients: Sequence[tf.Tensor | None],
        variables: Sequence[keras.Variable],
    ) -> None:
        """Adds the gradients given to an optimiser, and the updated weights."""
        names = [self._named(variable) for variable in variables]
        # A LossScaleOptimizer skips gradients that are not finite.
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            found = zip(names, gradients, strict=True)
            self.look((f"gradient of {name}", gradient) for name, gradient in found if gradient is not None)
        self.look((f"weight {name}", variable) for name, variable in zip(names, variables, strict=True))

    def close(self, step: tf.Tensor | keras.Variable) -> None:
        """Ends the step numbered `step`: notes the first of its tensors that is not finite."""
        seen = self._seen()
        names, sums = zip(*seen, strict=True)
        seen.clear()
        lost = tf.logical_not(tf.math.is_finite(tf.stack([tf.cast(total, tf.float32) for total in sums])))
        first = tf.argmax(tf.cast(lost, tf.int32))
        found = 1 + first + self._index(names) + _MOST * tf.cast(step, tf.int64)
        is_new = tf.logical_and(tf.reduce_any(lost), tf.equal(self.note.value, 0))
        self.note.assign(tf.where(is_new, found, self.note.value))

    def after(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, followed by `tell`."""

        def watched(*arguments):
            results = function(*arguments)
            self.tell()
            return results

        return watched

    def tell(self) -> None:
        """Raises `Diverged` once for each note."""
        notes = getattr(self.note.value, "values", [self.note.value])  # one for each replica
        found = min((note for note in (int(note.numpy()) for note in notes) if note), default=0)
        if found:
            self.note.assign(0)
            raise Diverged(found // _MOST, self._names[found % _MOST - 1])

    def _seen(self):
        """The pairs (name, sum) of the step that is being traced. A step whose tracing failed leaves none."""
        graph = tf.compat.v1.get_default_graph()
        if getattr(self._traced, "graph", None) is not graph:
            self._traced.graph, self._traced.seen = graph, []
        return self._traced.seen

    def _named(self, variable):
        """A variable's name after the name of its network."""
        for name, network in self._networks.items():
            if network is not None and any(variable is v for v in network.trainable_variables):
                return f"{name}/{variable.path}"
        return variable.path

    def _index(self, names):
        """The index at which these names begin in the table of names; adds them where they are new."""
        for index in range(len(self._names)):
            if self._names[index : index + len(names)] == list(names):
                return index
        self._names.extend(names)
        return len(self._names) - len(names)


def check_finite(model: keras.Model) -> None:
    """Checks a model's weights, moving statistics and optimiser state, which `Watch` does not check within a step.

    Raises:
      Diverged: one of them is not finite.
    """
    pairs = [(model.generator, model.generator_optimizer)]
    pairs += [(model.critic, model.critic_optimizer)] if model.critic is not None else []
    for network, optimizer in pairs:
        checked = [v for v in network.variables if v.trainable or "moving_" in v.path]
        for v in [*checked, *optimizer.variables]:
            if not np.isfinite(np.sum(v.numpy(), dtype=np.float64)):
                raise Diverged(int(model.step.numpy()), v.path)


_MOST = 1 << 20  # the largest number of names; a note is step·_MOST + index of the name + 1
