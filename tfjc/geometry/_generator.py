"""Calls generators, and finds their properties from a trace."""

import contextlib
import functools
import math
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from inspect import signature
from typing import Any, NamedTuple, Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfjc.geometry import inputs
from tfjc.support import checks, keras_models, precision

Array: TypeAlias = tf.Tensor | np.ndarray  # also any other array that TensorFlow converts


class Generator(Protocol):
    """A callable z [B, n_z] → x [B, ...], or (z, labels) → x; a Keras model is called in inference mode."""

    def __call__(self, z: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The outputs x [B, ...] for the latents z."""
        ...


class Inspection(NamedTuple):
    """Properties of a generator that a trace shows.

    Attributes:
      n_x: number of outputs of one sample.
      activation_bytes: bytes of all activations of one sample.
      epsilon: machine epsilon of the coarsest floating type that the generator computes in.
      states: the integer variables that the generator reads; they include the states of its random numbers.
    """

    n_x: int
    activation_bytes: int
    epsilon: float
    states: tuple[tf.Variable, ...] = ()


class Frozen(tf.Module):
    """A callable whose graph never changes, whatever its weights. The engine keeps its traces."""


class Kept:
    """The engine's results for a generator; they are valid while the generator's Python state stays the same.

    `verified` names the methods whose J was compared with TensorFlow's own gradient.
    """

    def __init__(self, state: list) -> None:
        self.state = state
        self.inspections: dict[tuple, Inspection] = {}
        self.traces: dict[tuple, tuple] = {}
        self.verified: set[str] = set()
        self.working: str | None = None
        self.without_noise = self.without_xla = self.independent = False


_kept: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def kept(generator: Generator) -> Kept | None:
    """The `Kept` of a `Frozen`, or of a functional or sequential Keras model whose Python state can be compared.

    Such a model consists of layers and operations of Keras, of tf_keras and of this package. Their attributes are plain
    values, variables, and functions of TensorFlow and Keras. A change of an attribute starts a new `Kept`. For any
    other callable the result is None, since a graph does not follow the Python state of foreign classes and functions.
    """
    state = [] if isinstance(generator, Frozen) else _model_state(generator)
    if state is None:
        return None
    if generator not in _kept or _kept[generator].state != state:
        _kept[generator] = Kept(state)
    return _kept[generator]


class _Foreign(Exception):
    """An object whose Python state is not known."""


class _Same:
    """A reference that equals only references to the same object; the object's own `==` is not used."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value


_PACKAGES = ("keras", "tf_keras", "tensorflow", "tfjc")
_TRAINING_ONLY = ("initializer", "regularizer", "constraint")


def _model_state(generator):
    """The Python state of a functional or sequential model, comparable by ==; None where the state is not known."""
    if not (_is_known(type(generator)) and keras_models.is_functional(generator)):
        return None
    layers = list(generator._flatten_layers())
    operations = [operation for layer in layers for operation in getattr(layer, "operations", ())]
    try:
        return [_operation_state(operation) for operation in (*layers, *operations)]
    except _Foreign:
        return None


def _operation_state(operation):
    if not _is_known(type(operation)):
        raise _Foreign
    if keras_models.is_functional(operation):
        return id(operation)  # the list of layers holds those of nested models too
    bookkeeping = _bookkeeping(keras_models.library(operation))
    attributes = {
        name: _value_state(value)
        for name, value in vars(operation).items()
        if name not in bookkeeping and not name.startswith("_self_") and not name.endswith(_TRAINING_ONLY)
    }
    return id(operation), attributes, [_value_state(_arguments(node)) for node in operation._inbound_nodes]


@functools.cache
def _bookkeeping(library):
    """The attributes that every layer has, but for those that influence its output."""
    return set(vars(library.layers.Layer())) - {"_dtype_policy", "autocast", "_autocast"}


def _arguments(node):
    """The arguments of a layer's call, (args, kwargs)."""
    arguments = getattr(node, "arguments", None)
    return (node.call_args, node.call_kwargs) if arguments is None else (arguments.args, arguments.kwargs)


def _value_state(value):
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, slice, np.generic)):
        return value
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return {key: _value_state(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_value_state(entry) for entry in value]
    if isinstance(value, keras.Operation) or keras_models.is_layer(value) or keras_models.is_symbolic(value):
        return id(value)  # a reference would keep the whole model alive
    if _is_known(value if hasattr(value, "__qualname__") else type(value)):
        return _Same(value)
    raise _Foreign


def _is_known(definition):
    """Whether a class or function is defined by Keras, TensorFlow or this package."""
    return str(definition.__module__).split(".")[0] in _PACKAGES


def run(generator: Generator, z: Array, labels: Array | None = None) -> tf.Tensor:
    """x = G(z) or G(z, labels), one tensor [B, ...]. Keras models run in inference mode.

    `inputs.arranged` decides which input of a functional Keras model takes the latents and which one the labels.
    Raises ValueError where the generator returns several tensors, or where the inputs cannot be told apart.
    """
    if labels is None:
        return infer(generator, z)
    if keras_models.is_functional(generator):
        return infer(generator, inputs.arranged(generator, z, labels))
    return infer(generator, z, labels)


def infer(generator: Generator, *arguments: Any) -> tf.Tensor:
    """The one tensor that the generator returns in inference mode.

    A list, tuple or dict with a single entry counts as that entry. Raises ValueError for several entries.
    """
    takes = keras_models.is_layer(generator) and "training" in signature(generator.call).parameters
    return _single(generator(*arguments, **({"training": False} if takes else {})))


def _single(output):
    if not isinstance(output, (list, tuple, dict)):
        return output
    found = tf.nest.flatten(output)
    if len(found) != 1:
        names = f" ({', '.join(map(str, output))})" if isinstance(output, dict) else ""
        kind = type(output).__name__
        raise ValueError(f"the generator must return one tensor [B, ...], found a {kind} of {len(found)}{names}")
    return found[0]


def call(generator: Generator, z: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
    """x = G(z) or G(z, labels), flattened to [B, n_x]. Raises ValueError where the output is not a batch of floats."""
    x = run(generator, z, labels)
    if not tf.is_tensor(x) and not isinstance(x, np.ndarray):
        raise ValueError(f"the generator must return one tensor [B, ...], found a {type(x).__name__}")
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise ValueError(f"the generator's output must be of floating type to be differentiated, found {x.dtype.name}")
    if x.shape.rank is None or x.shape.rank < 1 or not z.shape[:1].is_compatible_with(x.shape[:1]):
        raise ValueError(f"the generator must return [B, ...] for z {list(z.shape)}, found {x.shape}")
    width = x.shape[1:].num_elements()
    return tf.reshape(x, [tf.shape(z)[0], -1 if width is None else width])


def latents(z: Array) -> tf.Tensor:
    """`z` as a tensor [B, n_z] of float32 or float64. Raises ValueError for any other shape or for integers."""
    try:
        z = tf.convert_to_tensor(z)
    except (ValueError, TypeError) as error:
        raise ValueError(f"z must be a tensor [B, n_z] of floating type, found {z!r}") from error
    if z.shape.rank is not None and z.shape.rank > 2:
        raise ValueError(_flat(z.shape[1:], f"z must have shape [B, n_z], found {list(z.shape)}"))
    checks.rank("z", z, 2, "[B, n_z]")
    if not z.dtype.is_floating:
        raise ValueError(f"z must be of floating type, found {z.dtype.name}")
    if z.shape[0] == 0:
        raise ValueError("z must hold at least one latent, found none")
    if z.shape[1] == 0:
        raise ValueError(f"z must have shape [B, n_z] with n_z of at least 1, found {list(z.shape)}")
    return precision.full(z)


def _flat(shape, problem):
    """The problem, and how to measure a generator whose latents have several axes."""
    axes = ", ".join(map(str, shape))
    return (
        f"{problem}: pass flat latents, tf.reshape(z, [len(z), -1]), and "
        f"lambda z: generator(tf.reshape(z, [-1, {axes}])) as the generator"
    )


def conditions(labels: Array | None, z: tf.Tensor) -> tf.Tensor | None:
    """`labels` as a tensor [B, ...] with one label for each latent, or None. Raises ValueError for another shape."""
    if labels is None:
        return None
    given: tf.Tensor = tf.convert_to_tensor(labels)
    if given.shape.rank == 0 or not given.shape[:1].is_compatible_with(z.shape[:1]):
        raise ValueError(f"labels must be [B, ...] with one for each latent, found {given.shape} for z {z.shape}")
    return given


def check(generator: Generator, z: tf.Tensor, labels: tf.Tensor | None = None) -> None:
    """Builds a Keras model that is not built yet. Raises ValueError where the generator cannot take latents like z."""
    if not callable(generator):
        raise ValueError(f"the generator must be callable, z [B, n_z] → images, found {generator!r}")
    shape = getattr(generator, "input_shape", None) if keras_models.is_layer(generator) else None
    if isinstance(shape, tuple) and len(shape) == 2 and shape[1] not in (None, z.shape[1]):
        raise ValueError(f"the generator takes latents [B, {shape[1]}], found z {list(z.shape)}")
    if isinstance(shape, tuple) and _has_axes(shape[1:]) and getattr(generator, "inputs", None):
        expected = ", ".join(["B", *map(str, shape[1:])])
        raise ValueError(_flat(shape[1:], f"the generator takes latents [{expected}], found z {list(z.shape)}"))
    if keras_models.is_layer(generator) and not generator.built:
        _quoting(z, call, generator, z[:1], None if labels is None else labels[:1])


def _has_axes(shape):
    """Whether latents of a shape have several axes. Keras itself adds a last axis of size 1."""
    return len(shape) > 2 or (len(shape) == 2 and shape[1] != 1)


def _quoting(z, function, *arguments):
    """The result of `function`. Any error of the generator becomes a ValueError that quotes it."""
    try:
        return function(*arguments)
    except Exception as error:  # the generator is a user's code and can raise anything
        raise ValueError(f"the generator does not work on z {list(z.shape)}: {summary(error)}") from error


def inspect(generator: Generator, z: Array, labels: Array | None = None) -> Inspection:
    """The `Inspection` of a generator for latents z [B, n_z].

    Raises ValueError where the generator fails on these latents; the message quotes the generator's error.
    """
    z = latents(z)
    labels = conditions(labels, z)
    check(generator, z, labels)
    memory = kept(generator)
    if memory is None:
        return _inspect(generator, z, labels)
    key = (z.shape, z.dtype, labels is None or labels.shape)
    found = memory.inspections.get(key) or _inspect(generator, z, labels)
    if found.n_x is not None:  # the size of the output may be unknown inside a graph
        memory.inspections[key] = found
    return found


def _inspect(generator, z, labels):
    arguments = [tf.TensorSpec(t.shape, t.dtype) for t in (z, labels) if t is not None]
    function = tf.function(functools.partial(call, generator), autograph=False, jit_compile=False)
    graph = _quoting(z, function.get_concrete_function, *arguments).graph
    n_x = graph.outputs[0].shape[1]
    if n_x is None:
        n_x = _quoting(z, call, generator, z[:1], None if labels is None else labels[:1]).shape[1]
    tensors = list(_activations(graph, z.shape[0]))
    size = sum(math.prod(shape) * dtype.size for shape, dtype in tensors)
    kinds = [dtype for _, dtype in tensors if dtype.is_floating] + [graph.outputs[0].dtype]
    coarsest = max(_epsilon(dtype) for dtype in (z.dtype, *kinds))
    return Inspection(n_x, size, coarsest, tuple(v for v in graph.variables if v.dtype.is_integer))


def tolerance(epsilon: float) -> float:
    """The largest relative difference between two computations of one derivative that rounding explains.

    1e-6 is usual in float32.
    """
    return max(1e-4, 16 * epsilon)


def _epsilon(dtype):
    on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)  # TPUs multiply float32 as bfloat16
    return machine_epsilon(tf.bfloat16 if on_tpu and dtype == tf.float32 else dtype)


def machine_epsilon(dtype: tf.DType) -> float:
    """The distance from 1 to the next number of a floating type."""
    return 2.0**-7 if dtype == tf.bfloat16 else float(np.finfo(dtype.as_numpy_dtype).eps)


_NO_ACTIVATION = {"ReadVariableOp", "Const", "Placeholder", "Identity", "Reshape"}


def _activations(graph, batch):
    """(shape of one sample, dtype) of each batched tensor in a graph and in the functions that it calls."""
    definition = graph.as_graph_def(add_shapes=True)
    for nodes in (definition.node, *(function.node_def for function in definition.library.function)):
        for node in nodes:
            if node.op not in _NO_ACTIVATION:
                yield from _outputs(node, batch)


def _outputs(node, batch):
    kind = next((node.attr[name].type for name in ("T", "dtype", "DstT") if node.attr[name].type), None)
    for shape in node.attr["_output_shapes"].list.shape:
        sizes = [max(axis.size, 1) for axis in shape.dim]
        by_sample = len(sizes) >= 2 and shape.dim[0].size in (-1, batch or -1)
        if by_sample and kind:
            yield sizes[1:], tf.dtypes.as_dtype(kind)


def draws_noise(generator: Generator, z: tf.Tensor, labels: tf.Tensor | None = None) -> bool:
    """Whether G draws random numbers: G(z) differs between two samples or two calls at the same latent."""
    twice = tf.repeat(z[:1], 2, axis=0), None if labels is None else tf.repeat(labels[:1], 2, axis=0)
    first, second = call(generator, *twice), call(generator, *twice)
    rows = np.asarray(tf.cast(tf.concat([first, second], axis=0), tf.float64))
    largest = np.max(np.abs(rows), initial=1e-30, where=np.isfinite(rows))
    return not np.allclose(rows, rows[:1], rtol=1e-3, atol=1e-5 * largest, equal_nan=True)


@contextlib.contextmanager
def same_noise(states: Iterable[tf.Variable]) -> Iterator[Callable[[], None]]:
    """A context that yields a function `restart`, which resets a generator's random states to their first values.

    After `restart()` the generator draws the same noise again. The end of the context restarts too. `states` comes
    from the generator's `Inspection`. Noise without a state (`tf.random.normal`) cannot be repeated.
    """
    before = [(state, state.numpy()) for state in states]

    def restart():
        for state, value in before:
            if not np.array_equal(state.numpy(), value):
                state.assign(value)

    try:
        yield restart
    finally:
        restart()


def check_independent(generator: Generator, z: tf.Tensor, labels: tf.Tensor | None, inspection: Inspection) -> None:
    """Raises ValueError where the image of a latent changes with the other latents of the batch.

    J[b] is not defined then. One latent alone, and noise that cannot be repeated, are not checked. A generator whose
    traces are kept is checked once.
    """
    memory = kept(generator)
    if z.shape[0] < 2 or (memory and memory.independent):
        return
    place = np.arange(z.shape[0])[:, None]
    even, early = place % 2 == 0, place < z.shape[0] / 2
    with same_noise(inspection.states) as restart:

        def image(latents):
            restart()
            return np.asarray(tf.cast(call(generator, latents, labels), tf.float64))

        here = image(z)
        tolerance = max(1e-5, 16 * inspection.epsilon) * np.max(np.abs(here), initial=1e-30, where=np.isfinite(here))
        for moved in (even, ~even, early, ~early):
            found = image(tf.where(moved, z + 1.0, z))
            still = ~moved[:, 0]
            if not _are_close(found[still], here[still], tolerance) and _are_close(image(z), here, tolerance):
                raise ValueError(
                    "the generator mixes the samples of a batch: the image of a latent changes with the other latents, "
                    "as with batch normalisation in training mode; call it in inference mode (training=False), or "
                    "measure one latent at a time"
                )
    if memory:
        memory.independent = True


def _are_close(a, b, tolerance):
    return np.allclose(a, b, rtol=1e-3, atol=tolerance, equal_nan=True)


NOT_DIFFERENTIABLE = (
    "the generator's output changes with z, but through operations without derivatives (rounding, integers, "
    "numpy_function, ...)"
)


def is_constant(generator: Generator, z: tf.Tensor, labels: tf.Tensor | None = None) -> bool:
    """Whether G(z + 1) = G(z), with the same noise where G draws noise."""
    with same_noise(inspect(generator, z, labels).states) as restart:
        here = np.asarray(tf.cast(call(generator, z, labels), tf.float64))
        restart()
        return np.array_equal(here, np.asarray(tf.cast(call(generator, z + 1.0, labels), tf.float64)))


_QUOTED = "Exception encountered: "


def summary(error: BaseException) -> str:
    """The first line of an error that tells the cause; lines that Keras and TensorFlow put around it are skipped.

    Keras quotes the error of a layer that cannot be built last. AutoGraph ends with the error, after lines of code.
    """
    lines = [re.sub(r"\x1b\[\d*m|\{\{.*?\}\}", "", line).strip() for line in str(error).splitlines()]
    if lines and lines[0] == "in user code:":
        lines = [line for line in lines if line][-1:]
    quoted = [line for line in lines if line.startswith(_QUOTED)]
    lines = [line.removeprefix(_QUOTED) for line in quoted[-1:]] or lines
    wrapping = (
        "Exception encountered when calling",
        "Graph execution error",
        "Detected at node",
        'File "',
        "Arguments",
    )
    telling = [line for line in lines if line and not line.startswith(wrapping)]
    return telling[0][:300] if telling else type(error).__name__
