"""tfjc: measure and control the conditioning of generative models in Keras.

`tfjc.jacobian`, `tfjc.spectrum`, `tfjc.penalties`, `tfjc.models`, ... are imported on first use, so that
`import tfjc` stays cheap and programs that only read records never load TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_MODULES = (
    "analysis",
    "architectures",
    "callbacks",
    "checkpoints",
    "checks",
    "datasets",
    "dynamics",
    "evaluation",
    "evaluators",
    "experiment",
    "export",
    "figures",
    "jacobian",
    "layers",
    "loading",
    "losses",
    "models",
    "numerics",
    "penalties",
    "records",
    "scores",
    "sessions",
    "spectrum",
    "statistics",
    "strategies",
)


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"tfjc.{name}")
    raise AttributeError(f"module 'tfjc' has no attribute '{name}'; it has {', '.join(_MODULES)}")


def __dir__():
    return sorted([*globals(), *_MODULES])
