"""What TensorFlow's optimised graph of a training step keeps of the order in which variables are read and written."""

import collections
import graphlib

import keras
import pytest
import replicas
import tensorflow as tf
from tensorflow.python.eager import context

from tfjc.models._model import _together

pytestmark = pytest.mark.usefixtures("grappler")

CASES = ("clamped", "path length", "conditional", "consensus", "symplectic", "normalised weights", "vae")


def optimised(function, *arguments):
    """The nodes of a tf.function that writes variables, after TensorFlow's passes over its graph."""
    context.enable_run_metadata()
    try:
        context.export_run_metadata()  # drops the graphs of what ran since metadata were last exported
        function(*arguments)
        graphs = [list(g.post_optimization_graph.node) for g in context.export_run_metadata().function_graphs]
    finally:
        context.disable_run_metadata()
    return max(graphs, key=len)


def unordered(nodes):
    """[(variable, access, write)] of accesses to a variable that nothing orders; how many pairs were looked at."""
    index = {node.name: i for i, node in enumerate(nodes)}
    inputs = [[index[name.lstrip("^").split(":")[0]] for name in node.input] for node in nodes]
    before = {}  # what a node waits for, as bits
    for i in graphlib.TopologicalSorter(dict(enumerate(inputs))).static_order():
        before[i] = 1 << i
        for j in inputs[i]:
            before[i] |= before[j]
    touching = collections.defaultdict(list)
    for i, node in enumerate(nodes):
        if node.op.endswith("VariableOp") or node.op.startswith("Resource"):
            touching[nodes[inputs[i][0]].name].append(i)
    pairs = [(v, o, w) for v, t in touching.items() for w in t for o in t if w != o and "Read" not in nodes[w].op]
    lost = [(v, nodes[o].name, nodes[w].name) for v, o, w in pairs if not (before[w] >> o | before[o] >> w) & 1]
    return lost, len(pairs)


def fusible(operations):
    """The pairs that oneDNN's pass may fuse into one node although one of the two depends on the other.

    It fuses a BiasAddGrad with a Conv2DBackpropFilter of the same upstream gradient: a cycle, in such a case.
    """
    before = {}  # what an operation depends on, as bits
    for i, op in enumerate(operations):
        before[op.name] = 1 << i
        for x in op.inputs:
            before[op.name] |= before[x.op.name]
    biases = [(op.inputs[0].ref(), i) for i, op in enumerate(operations) if op.type == "BiasAddGrad"]
    filters = [op for op in operations if op.type == "Conv2DBackpropFilter"]
    return [op.name for u, i in biases for op in filters if op.inputs[2].ref() == u and before[op.name] >> i & 1]


@pytest.mark.parametrize("name", CASES)
def test_a_variable_is_read_before_or_after_it_is_written_not_either(name):
    model = replicas.CASES[name]()
    images = tf.zeros([16, *model.image_shape], tf.uint8)
    batch = images if model.num_classes is None else (images, tf.zeros([16], tf.int32))
    step = tf.function(model.train_step, autograph=False)
    lost, pairs = unordered(optimised(step, batch))
    assert pairs > 100 and not lost
    assert not fusible(step.get_concrete_function(batch).graph.get_operations())


@pytest.mark.parametrize(("gradients", "expected"), [(list, ["Mul/ReadVariableOp"]), (_together, [])])
def test_tensorflow_drops_the_order_of_a_read_that_only_other_weights_gradients_need(gradients, expected):
    """What is looked for above, and what makes it: Keras's optimisers take all gradients through one IdentityN."""
    bias, weight = keras.Variable(tf.ones([4])), keras.Variable(tf.ones([4, 4]))
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([bias, weight])

    def step(z):
        of_bias, loss = tf.exp(z), tf.reduce_sum(tf.sin(bias * 1.0 + z))
        optimizer.apply(gradients([of_bias, tf.cos(loss) * weight]), [bias, weight])
        return loss  # with Keras as it is this may be the loss after the update

    lost, _ = unordered(optimised(tf.function(step, autograph=False), tf.ones([4])))
    assert [read for _, read, _ in lost] == expected
