"""tfjc: measure and control the conditioning of generative models in Keras.

`tfjc.geometry`, `tfjc.penalties`, `tfjc.callbacks` and the other rooms are imported on first use. So `import tfjc` is
cheap, and programs that only read records never load TensorFlow.
"""

import importlib
import importlib.metadata
import json
import os
import sys

__version__ = "0.1.0"

_KERAS = (3, 14)  # the oldest with the interfaces in use; pyproject.toml says the same

_MODULES = (
    "architectures",
    "callbacks",
    "datasets",
    "dynamics",
    "evaluators",
    "geometry",
    "layers",
    "losses",
    "models",
    "penalties",
    "runs",
    "saving",
    "study",
    "support",
)


def _check_versions(python, keras):
    """Raises ImportError below the oldest versions that are tested; `keras` is None where it is not installed."""
    if python < (3, 11):
        raise ImportError(f"tfjc needs Python 3.11 or later, found {'.'.join(map(str, python[:3]))}")
    if keras is not None and tuple(int(part) for part in keras.split(".")[:2]) < _KERAS:
        raise ImportError(
            f"tfjc needs Keras {_KERAS[0]}.{_KERAS[1]} or later, found {keras}: pip install --upgrade keras"
        )


def _check_settings(environment, keras):
    """Raises ImportError where Keras computes with another library than TensorFlow, or with channels first.

    Args:
      environment: as `os.environ`.
      keras: the module if it is imported, else None; its settings are then those that it will read.
    """
    if keras is not None:
        backend, layout = keras.backend.backend(), keras.config.image_data_format()
        where = "keras.config"
    else:
        home = environment.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
        where = os.path.join(home, "keras.json")
        try:
            with open(where, encoding="utf-8") as stream:
                settings = dict(json.load(stream))
        except (OSError, ValueError, TypeError):  # Keras, too, goes on without
            settings = {}
        backend = environment.get("KERAS_BACKEND") or settings.get("backend", "tensorflow")
        layout = settings.get("image_data_format", "channels_last")
    if backend != "tensorflow":
        raise ImportError(f"tfjc needs Keras's backend tensorflow, found {backend}: set KERAS_BACKEND=tensorflow")
    if layout != "channels_last":
        raise ImportError(f"tfjc's images are channels_last, found image_data_format {layout}: change it in {where}")


def _installed(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


_check_versions(sys.version_info, _installed("keras"))
_check_settings(os.environ, sys.modules.get("keras"))


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"tfjc.{name}")
    raise AttributeError(f"module 'tfjc' has no attribute '{name}'; it has {', '.join(_MODULES)}")


def __dir__():
    return sorted([*globals(), *_MODULES])
