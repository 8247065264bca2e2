"""tfjc: measure and control the conditioning of generative models in Keras.

`tfjc.geometry`, `tfjc.penalties`, `tfjc.callbacks` and the other rooms are imported on first use. So `import tfjc` is
cheap, and programs that only read records never load TensorFlow.
"""

import importlib

__version__ = "0.1.0"

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


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"tfjc.{name}")
    raise AttributeError(f"module 'tfjc' has no attribute '{name}'; it has {', '.join(_MODULES)}")


def __dir__():
    return sorted([*globals(), *_MODULES])
