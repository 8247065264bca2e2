"""Checks which classes and functions a Keras file names before Keras reads it, because reading can run code.

Keras's own safe mode differs between versions and has had holes (CVE-2025-1550, CVE-2025-8747). A file passes this
check if it names only Keras's own layers, operations, initializers and the like, or classes that this process has
registered with Keras.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import zipfile
from collections.abc import Iterator

import h5py
import keras

# Keras's classes that hold or call code from a file
_CODE = {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "__lambda__", "__typespec__"}
_VALUES = {"__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__tuple__", "__keras_tensor__", "__slice__"}
_PARTS = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies", "activations")
_KINDS = (
    *(keras.Operation, keras.Initializer, keras.Regularizer, keras.dtype_policies.DTypePolicy),
    *(keras.constraints.Constraint, keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule),
    *(keras.Loss, keras.Metric),
)


def check(path: str | os.PathLike) -> None:
    """Refuses a model's `.keras`, `.h5` or JSON file that could run code.

    Raises:
      ValueError: the file names a class or function that could run code, or it holds no network. The message names
        it, and the way forward.
    """
    path = os.fspath(path)
    for what in _foreign(_configuration(path)):
        raise ValueError(
            f"{path} {what}, which loading would run; it could do anything. If you trust the file's author, give "
            "--trust; else ask for a SavedModel (model.export('DIR')) and give that directory"
        )


def _configuration(path) -> dict | list:
    """The configuration in a model file, as JSON has it; raises ValueError where there is none."""
    try:
        if path.endswith(".json"):
            with open(path, encoding="utf-8") as stream:
                found = json.load(stream)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = json.loads(archive.read("config.json"))
        else:
            with h5py.File(path, "r") as file:
                found = json.loads(file.attrs["model_config"]) if "model_config" in file.attrs else None
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if found is None:
        raise ValueError(
            f"{path} holds weights alone, no network: build the network in Python, load the weights "
            "(model.load_weights), save the model (model.save('generator.keras')), and give that file"
        )
    if isinstance(found, dict):
        found.pop("compile_config", None)  # never read: models are loaded without it
    return found


def _foreign(entry) -> Iterator[str]:
    """For each class and function that is not known to be harmless, what the configuration does with it."""
    if isinstance(entry, dict):
        if "class_name" in entry:
            yield from _named(str(entry["class_name"]), entry)
        for value in entry.values():
            yield from _foreign(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from _foreign(value)


def _named(name, entry):
    module, registered = entry.get("module"), entry.get("registered_name")
    if name in _CODE:
        yield f"holds Python code in a {name} layer"
    elif name in _VALUES or keras.saving.get_registered_object(str(registered or name)):
        return
    elif name == "function":
        if not hasattr(keras.activations, str(entry.get("config"))) or not _is_of_keras(module):
            yield f"needs the function {entry.get('config')!r} of module {module!r}"
    elif not (_is_of_keras(module) and _is_harmless(module, name)):
        yield f"needs the class {name!r}" + f" of module {module!r}" * bool(module)


def _is_of_keras(module):
    return module in (None, "builtins") or str(module).partition(".")[0] == "keras"


def _is_harmless(module, name):
    """Whether Keras's class of this name is a layer, an operation or the like. Imports no module."""
    anywhere = [*(f"keras.{part}" for part in _PARTS), "keras.src.models.functional"]
    places = anywhere if module in (None, "builtins") else [str(module)]
    found = [getattr(sys.modules.get(place), name, None) for place in places]
    return any(inspect.isclass(one) and issubclass(one, _KINDS) for one in found)
