"""What reading a Keras file would run: its classes and functions are checked before Keras reads it.

Keras's own safe mode differs between versions and has had holes (CVE-2025-1550, CVE-2025-8747). A file passes here if
all that it names are Keras's own layers, operations, initializers and the like, or classes that this process has
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

# Keras's classes that hold or call code from a file.
_CODE = {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "__lambda__", "__typespec__"}
_VALUES = {"__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__tuple__", "__keras_tensor__", "__slice__"}
_PARTS = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies", "activations")
_KINDS = (
    *(keras.Operation, keras.Initializer, keras.Regularizer, keras.dtype_policies.DTypePolicy),
    *(keras.constraints.Constraint, keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule),
    *(keras.Loss, keras.Metric),
)


def check(path: str | os.PathLike) -> None:
    """Raises ValueError where a model's `.keras`, `.h5` or JSON file names anything that could run code.

    The message names the class or function and says what to do. A file without networks is refused, too.
    """
    path = os.fspath(path)
    for what in _foreign(_configuration(path)):
        raise ValueError(
            f"{path} {what}, which loading would run: it could do anything. If you trust whoever made the file, say so "
            "(--trust), or have the model exported as a SavedModel (model.export('DIR')) and give that directory"
        )


def _configuration(path):
    """The configuration in a model file, as JSON has it; ValueError where there is none."""
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
            f"{path} holds weights alone, no network: make the network in Python, load them into it "
            "(model.load_weights), save it whole (model.save('generator.keras')), and give that file"
        )
    if isinstance(found, dict):
        found.pop("compile_config", None)  # not read, since models are loaded without it
    return found


def _foreign(entry) -> Iterator[str]:
    """What a configuration does with each class and function that is not known to be harmless."""
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
    """Whether the class that Keras has under a name is a layer, an operation or the like; no module is imported."""
    anywhere = [*(f"keras.{part}" for part in _PARTS), "keras.src.models.functional"]
    places = anywhere if module in (None, "builtins") else [str(module)]
    found = [getattr(sys.modules.get(place), name, None) for place in places]
    return any(inspect.isclass(one) and issubclass(one, _KINDS) for one in found)
