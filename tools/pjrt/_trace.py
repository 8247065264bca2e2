"""Turns a function of TensorFlow into one XLA module, and tells what its parameters and results are."""

import gzip
import re

import tensorflow as tf
from tensorflow.python.ops import gen_stateless_random_ops_v2 as random_ops  # there is no public way to ask for a key

_WRITES = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Case")


def module(function, inputs, names):
    """(serialized HloModuleProto, {`parameters`, `results`}, {name of a captured constant: array}).

    Args:
      function: of the `inputs`, in order, → {name: tensor}, or a `tf.function` of such a one that XLA compiles; the
        variables that it reads and writes are captured.
      inputs: {name: tf.TensorSpec}.
      names: {id of a variable's handle: its name}, of all that the function may capture.

    Raises:
      ValueError: it captures a variable without a name, or the results are not its outputs and the variables it writes.
    """
    is_compiled = hasattr(function, "get_concrete_function")
    compiled = function if is_compiled else tf.function(function, jit_compile=True, autograph=False)
    concrete = compiled.get_concrete_function(*inputs.values())
    lower = compiled.experimental_get_compiler_ir(*inputs.values())
    hlo = lower(stage="hlo_serialized", device_name="/device:CPU:0")  # not yet optimised for a device
    parameters = [_described(name, "input", spec) for name, spec in inputs.items()]
    constants = {}
    for tensor in concrete.captured_inputs:
        if tensor.dtype != tf.resource:
            name = f"constant.{len(constants)}"
            constants[name] = tensor.numpy()
            parameters.append(_described(name, "constant", tensor))
        elif id(tensor) in names:
            name, variable = names[id(tensor)]
            parameters.append(_described(name, "variable", variable))
        else:
            raise ValueError(f"the function captures a variable without a name: {tensor}")
    outputs = concrete.structured_outputs
    results = [_described(name, "output", outputs[name]) for name in sorted(outputs)]
    places = _written(concrete.graph.as_graph_def(), len(parameters), concrete)
    results += [{**parameters[place], "parameter": place} for place in places]
    _compare(hlo, parameters, results)
    return hlo, {"parameters": parameters, "results": results}, constants


def _described(name, kind, tensor):
    return {"name": name, "kind": kind, "shape": list(tensor.shape), "dtype": tf.as_dtype(tensor.dtype).name}


def _written(graph, count, concrete):
    """The places among the parameters of the variables that a graph writes, in order."""
    functions = {function.signature.name: function for function in graph.library.function}
    arguments = [tensor.op.name for tensor in concrete.inputs]
    if len(arguments) != count:
        raise ValueError(f"the graph has {len(arguments)} inputs, expected {count}")
    found = _written_by(graph.node, arguments, functions)
    return sorted(found)


def _written_by(nodes, arguments, functions):
    """The places among `arguments`, names of inputs, that a function's nodes write, directly or in what they call."""
    origin = {name: place for place, name in enumerate(arguments)}
    found = set()
    for node in [*nodes] * 2:  # nodes may stand before those that they take something of
        inputs = [name.partition(":")[0] for name in node.input if not name.startswith("^")]
        if node.op == "Identity" and inputs and inputs[0] in origin:
            origin[node.name] = origin[inputs[0]]
        if node.op in _WRITES and inputs[0] in origin:
            found.add(origin[inputs[0]])
        if node.op in _CALLS:
            called = [node.attr[key] for key in ("f", "body", "then_branch", "else_branch") if key in node.attr]
            passed = inputs[1:] if "If" in node.op or node.op == "Case" else inputs
            for attribute in called:
                inner = functions[attribute.func.name]
                of = _written_by(inner.node_def, [arg.name for arg in inner.signature.input_arg], functions)
                found |= {origin[passed[place]] for place in of if passed[place] in origin}
    return found


def _compare(hlo, parameters, results):
    """Raises ValueError where a module's parameters and results are not the ones expected, by shape and type."""
    from tensorflow.compiler.xla.service import hlo_pb2

    proto = hlo_pb2.HloModuleProto()
    proto.ParseFromString(hlo)
    shape = proto.host_program_shape
    for what, entries, found in (
        ("parameters", parameters, shape.parameters),
        ("results", results, shape.result.tuple_shapes or [shape.result]),  # one alone is no tuple
    ):
        expected = [entry["shape"] for entry in entries]
        if expected != [list(one.dimensions) for one in found]:
            raise ValueError(f"the module's {what} are {len(found)}, expected {len(expected)}: {expected}")


def write(folder, name, hlo):
    """Writes a module, compressed, and returns its file's name."""
    file = name.replace("/", "-") + ".hlo.gz"
    (folder / file).write_bytes(gzip.compress(hlo, 9, mtime=0))
    return file


def key_of(seed):
    """{`key`, `counter`} of TensorFlow's generator for a seed int32[2]."""
    key, counter = random_ops.stateless_random_get_key_counter(tf.cast(seed, tf.int32))
    return {"key": int(key.numpy()[0]), "counter": [int(word) for word in counter.numpy()]}


def drawn_with(function):
    """(what `function` returns, {`key`, `counter`} of the one draw of normal numbers that it makes)."""
    found, original = [], random_ops.stateless_random_normal_v2

    def recorded(shape, key, counter, alg, **options):
        found.append({"key": int(key.numpy()[0]), "counter": [int(word) for word in counter.numpy()]})
        return original(shape=shape, key=key, counter=counter, alg=alg, **options)

    random_ops.stateless_random_normal_v2 = recorded
    try:
        value = function()
    finally:
        random_ops.stateless_random_normal_v2 = original
    if len(found) != 1:
        raise ValueError(f"expected one draw of normal numbers, found {len(found)}")
    return value, found[0]


def names_of(**groups):
    """{id of the handle: (name, variable)} of Keras's and TensorFlow's variables: GROUP/PLACE/PATH.

    The numbers that Keras gives its layers are left out: networks that are alike have the same names.
    """
    names = {}
    for group, variables in groups.items():
        for place, variable in enumerate(variables):
            raw = variable if callable(variable.value) else variable.value  # a method of TensorFlow's own variables
            path = re.sub(r"_\d+", "", getattr(variable, "path", variable.name).removesuffix(":0"))
            names[id(raw.handle)] = f"{group}/{place}/{path}", raw
    return names
