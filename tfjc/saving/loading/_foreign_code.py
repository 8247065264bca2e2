"""Checks which classes and functions a Keras file names before Keras reads it, because reading can run code.

Keras's own safe mode differs between versions and has had holes (CVE-2025-1550, CVE-2025-8747); that of Keras 2 does
not cover HDF5 files. A file passes this check if it names only Keras's own layers, operations, initializers and the
like, or classes and functions that this process has registered with Keras. A file of Keras 2 is checked against the
classes of tf_keras, which reads it, and may also name TensorFlow's mathematical functions.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from types import ModuleType

import h5py
import keras

# Keras's classes that hold or call code from a file
_CODE = {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "__lambda__", "__typespec__"}
# Layers of Keras 2 that call any method of TensorFlow's classes, or any operation
_CODE |= {"ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer"}
_TRUST = "give --trust"
# Packages from which Keras 3 imports a trusted file's classes
_IMPORTED = {"keras", "keras_hub", "keras_cv", "keras_nlp"}
_VALUES = {"__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__tuple__", "__keras_tensor__", "__slice__"}
_VALUES |= {"TensorShape"}
_PARTS = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies", "activations")
_FUNCTIONAL = {
    "keras": ["keras.src.models.functional"],
    "tf_keras": ["tf_keras.mixed_precision", "tf_keras.src.engine.functional", "tf_keras.src.layers"],
}

# Functions of TensorFlow that a layer of Keras 2 may call: those that compute tensors from tensors
_MATHEMATICS = ("__operators__", "bitwise", "image", "linalg", "math", "nn", "signal")
_FUNCTIONS = """
    abs add add_n argmax argmin batch_to_space boolean_mask broadcast_to cast clip_by_norm clip_by_value concat
    convert_to_tensor cos cumsum divide einsum ensure_shape exp expand_dims eye fill floor gather gather_nd identity
    linspace matmul maximum meshgrid minimum multiply negative norm one_hot ones ones_like pad pow random.normal
    random.stateless_normal random.stateless_uniform random.truncated_normal random.uniform range rank realdiv
    reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse roll round scalar_mul shape
    sigmoid sign sin size slice space_to_batch split sqrt square squeeze stack stop_gradient strided_slice subtract
    tanh tensordot tile transpose truediv unstack where zeros zeros_like
"""


def check(path: str | os.PathLike, trust: bool = False) -> None:
    """Refuses a model's `.keras`, `.h5` or JSON file that could run code.

    Args:
      path: the file.
      trust: whether to refuse only what Keras cannot load from a trusted file either.

    Raises:
      ValueError: the file names a class or function that could run code, or it holds no network. The message names
        it, and the way forward.
    """
    path = os.fspath(path)
    library = reader(path)
    for what, way in _foreign(_configuration(path), library):
        if way == _TRUST and trust:
            continue
        raise ValueError(
            f"{path} {what}; such code could do anything. If you trust the file's author, {way}; else ask for a "
            "SavedModel (model.export('DIR')) and give that directory"
        )


def reader(path: str | os.PathLike) -> ModuleType:
    """The library that reads a model file: `keras`, or `tf_keras` for a `.keras` or `.h5` file of Keras 2.

    Keras 3 always writes its version into the file.
    """
    path = os.fspath(path)
    if path.endswith(".json") or _version(path).partition(".")[0] not in ("", "1", "2"):
        return keras
    import tf_keras

    return tf_keras


def _version(path):
    """The version of Keras that wrote a file, as text; empty for an HDF5 file that does not tell."""
    with _named_in_errors(path):
        if _is_archive(path):
            with zipfile.ZipFile(path) as archive:
                known = "metadata.json" in archive.namelist()
                return str(json.loads(archive.read("metadata.json")).get("keras_version", "")) if known else "3"
        with h5py.File(path, "r") as file:
            version = file.attrs.get("keras_version", "")
            return version.decode() if isinstance(version, bytes) else str(version)


def _is_archive(path):
    """Whether Keras reads a file as a zip archive. A file `.h5` is HDF5 to Keras, even with an archive at its end."""
    return path.endswith(".keras") and zipfile.is_zipfile(path)


@contextlib.contextmanager
def _named_in_errors(path):
    """Errors of a damaged file become a ValueError that names the file."""
    try:
        yield
    except (OSError, KeyError, ValueError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error


def _configuration(path) -> dict | list:
    """The configuration in a model file, as JSON has it; raises ValueError where there is none."""
    with _named_in_errors(path):
        if path.endswith(".json"):
            with open(path, encoding="utf-8") as stream:
                found = json.load(stream)
        elif _is_archive(path):
            with zipfile.ZipFile(path) as archive:
                found = json.loads(archive.read("config.json"))
            if isinstance(found, dict):
                found.pop("compile_config", None)  # `load_model(compile=False)` does not read it in an archive
        else:
            with h5py.File(path, "r") as file:
                found = json.loads(file.attrs["model_config"]) if "model_config" in file.attrs else None
    if found is None:
        raise ValueError(
            f"{path} holds weights alone, no network: build the network in Python, load the weights "
            "(model.load_weights), save the model (model.save('generator.keras')), and give that file"
        )
    return found


def _foreign(entry, library, outermost=True) -> Iterator[tuple[str, str]]:
    """For each class and function that is not known to be harmless: (what the file does with it, how to load it)."""
    if isinstance(entry, dict):
        if "class_name" in entry:
            yield from _named(str(entry["class_name"]), entry, library, outermost)
        for value in entry.values():
            yield from _foreign(value, library, outermost=False)
    elif isinstance(entry, list):
        for value in entry:
            yield from _foreign(value, library, outermost=False)


def _named(name, entry, library, outermost):
    module, config = entry.get("module"), entry.get("config")
    known = _registered(name, entry, library)
    if name in _CODE or (inspect.isclass(known) and issubclass(known, library.layers.Lambda)):
        yield f"holds Python code in a {name} layer", _TRUST
    elif name in _VALUES or known is not None:
        return
    elif name == "function":
        names = [str(config), str(entry.get("registered_name") or config)]
        if not (_is_of_keras(module, library) and all(hasattr(library.activations, one) for one in names)):
            yield _needed("function", str(config), module, library, outermost)
    elif not (_is_of_keras(module, library) and _is_harmless(module, name, library)):
        yield _needed("class", name, module, library, outermost)
    elif name in ("TFOpLambda", "SlicingOpLambda") and not _is_mathematical(config):
        yield f"calls a function of TensorFlow in a layer ({_function(config)})", _TRUST
    elif isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        yield f"needs the file {config['vocabulary']!r} for a {name} layer", _TRUST


def _needed(kind, name, module, library, outermost):
    """(what the file needs, how to load it) for a class or function that this process does not know.

    For a trusted file Keras 3 imports the modules of a few packages, and Keras 2 that of the model itself. Keras looks
    for functions of "builtins" among its own. Nothing can be imported from a notebook (`__main__`).
    """
    needs, root = f"needs the {kind} {name!r}", str(module).partition(".")[0]
    make_known = (
        f"set {library.__name__}.saving.get_custom_objects()[{name!r}] to it, and call tfjc.saving.load_any there"
    )
    if kind == "function" and any(hasattr(part, name) for part in (library.losses, library.metrics)):
        return f"{needs} of module {module!r}", _TRUST
    if module in (None, "builtins", "__main__"):
        return f"{needs}, and does not say of which module", f"define the {kind} in Python, {make_known}"
    needs += f" of module {module!r}"
    imports = root in _IMPORTED if library is keras else outermost
    way = _TRUST if imports else f"import the {kind} from {module!r} in Python, {make_known}"
    if not _is_installed(root):
        return f"{needs}, and no module {root!r} is installed", f"install it{' and' if imports else ','} {way}"
    return needs if imports else f"{needs}, which Keras does not import by itself", way


def _is_installed(root):
    """Whether there is a top-level module of this name. Imports nothing."""
    return root in sys.modules or (root.isidentifier() and importlib.util.find_spec(root) is not None)


def _registered(name, entry, library):
    """The class or function that this process has registered with Keras and that Keras takes for an entry, or None.

    Some readers look for a class by `registered_name`, others by `class_name`. Both must stand for it: else one name
    would hide what the other calls. Keras looks for a function by `config` alone.
    """
    find = library.saving.get_registered_object
    if name == "function":
        return find(str(entry.get("config")))
    registered = str(entry.get("registered_name", name))
    known = find(registered)
    return known if name in (registered, getattr(known, "__name__", None)) else None


def _is_of_keras(module, library):
    return module in (None, "builtins") or str(module).partition(".")[0] in ("keras", library.__name__)


def _is_harmless(module, name, library):
    """Whether the library's class of this name is a layer, an operation or the like. Imports no module."""
    own = library.__name__
    anywhere = [own, *(f"{own}.{part}" for part in _PARTS), *_FUNCTIONAL[own]]
    places = anywhere if module in (None, "builtins") else [f"{own}.{module.partition('.')[2]}".rstrip(".")]
    found = [getattr(sys.modules.get(place), name, None) for place in places]
    return any(inspect.isclass(one) and issubclass(one, _kinds(library)) for one in found)


def _kinds(library):
    """The base classes of a library's layers, initializers and the like."""
    kinds = (library.layers.Layer, library.initializers.Initializer, library.regularizers.Regularizer)
    kinds += (library.constraints.Constraint, library.optimizers.Optimizer, library.losses.Loss, library.metrics.Metric)
    kinds += (library.optimizers.schedules.LearningRateSchedule,)
    if library is keras:
        return (*kinds, keras.Operation, keras.dtype_policies.DTypePolicy)
    return (*kinds, library.mixed_precision.Policy)


def _function(config):
    """The name of a layer's function of TensorFlow; empty where the configuration has none."""
    return str(config.get("function", "")) if isinstance(config, dict) else ""


def _is_mathematical(config):
    """Whether a layer's function of TensorFlow computes tensors from tensors, and reads and calls nothing else."""
    name = _function(config).removeprefix("compat.v1.")
    part, _, rest = name.partition(".")
    return name in _FUNCTIONS.split() or (
        part in _MATHEMATICS and re.fullmatch("[a-z0-9_]+", rest) and "sampler" not in rest
    )
