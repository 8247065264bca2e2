"""The interval of a function's values, read off the last operations of its graph."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Operations that rearrange, interpolate, average or convert the values of their input. A cast to integers at the end
# does no harm: a generator that is differentiated has none, and the range of uint8 images is told by their type.
_SAME = {
    *("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Transpose", "EnsureShape", "Snapshot"),
    *("StopGradient", "PreventGradient", "CheckNumerics", "Cast", "StridedSlice", "Slice", "DepthToSpace"),
    *("SpaceToDepth", "ResizeBilinear", "ResizeNearestNeighbor", "Mean", "Max", "Min", "AvgPool", "MaxPool"),
}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_ENDS = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Relu": (0.0, math.inf), "Relu6": (0.0, 6.0)}
_ARITHMETIC = {
    "Mul": lambda x, c: x * c,
    "AddV2": lambda x, c: x + c,
    "Sub": lambda x, c: x - c,
    "RealDiv": lambda x, c: x / c,
    "Minimum": min,
    "Maximum": max,
}
_COMMUTES = {"Mul", "AddV2", "Minimum", "Maximum"}


def of(function: Callable[..., Any], *arguments: tf.Tensor) -> tuple[float, float]:
    """(low, high) of `function`'s values, from its graph for tensors like `arguments`; infinite where unknown.

    The search starts at the output. It goes back through operations that rearrange or average values, through
    arithmetic with one constant, and into called functions, until it meets a sigmoid, tanh or ReLU. Example:
    2·sigmoid − 1 gives (−1, 1).
    A function that TensorFlow cannot trace gives (−∞, ∞).
    """
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in arguments]
    try:
        graph = tf.function(function, autograph=False, jit_compile=False).get_concrete_function(*specs).graph
    except Exception:  # a user's function can raise anything while it is traced
        return -math.inf, math.inf
    definition = graph.as_graph_def()
    functions = {entry.signature.name: entry for entry in definition.library.function}
    return _bounds(graph.outputs[0].name, {node.name: node for node in definition.node}, functions)


def _bounds(reference, nodes, functions):
    """(low, high) of a tensor, named "node:0" in a graph and "node:output:0" in a function's body."""
    name, *rest = reference.split(":")
    node, place = nodes.get(name), int(rest[-1]) if rest else 0
    if node is None:  # an argument of a function
        return -math.inf, math.inf
    if node.op in _ENDS:
        return _ENDS[node.op]
    if node.op in _SAME:
        return _bounds(node.input[place if node.op == "IdentityN" else 0], nodes, functions)
    if node.op in _CALLS:
        body = functions[node.attr["f"].func.name]
        returned = body.ret[body.signature.output_arg[place].name]
        return _bounds(returned, {entry.name: entry for entry in body.node_def}, functions)
    if node.op in _ARITHMETIC:
        return _calculated(node, nodes, functions)
    return -math.inf, math.inf


def _calculated(node, nodes, functions):
    """(low, high) of arithmetic between a tensor and one number."""
    operands = list(node.input)[:2]
    constants = [_constant(operand, nodes) for operand in operands]
    if constants[1] is None and node.op in _COMMUTES:
        operands, constants = operands[::-1], constants[::-1]
    if constants[1] is None:
        return -math.inf, math.inf
    ends = [_ARITHMETIC[node.op](end, constants[1]) for end in _bounds(operands[0], nodes, functions)]
    return (-math.inf, math.inf) if any(map(math.isnan, ends)) else (min(ends), max(ends))


def _constant(reference, nodes):
    """The number that a constant node holds, or None."""
    node = nodes.get(reference.split(":")[0])
    while node is not None and node.op in ("Identity", "Cast"):
        node = nodes.get(node.input[0].split(":")[0])
    if node is None or node.op != "Const":
        return None
    value = tf.make_ndarray(node.attr["value"].tensor)
    return float(value.item()) if value.size == 1 and value.dtype != bool else None
