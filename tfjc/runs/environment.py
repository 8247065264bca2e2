"""The environment of a training session: versions, commit, device."""

import datetime
import pathlib
import platform
import subprocess
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfjc
from tfjc.runs import devices
from tfjc.support.xla import use_xla


def versions() -> dict[str, str | None]:
    """Versions and commit. TensorFlow's devices are not touched."""
    return {
        "tfjc": tfjc.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "commit": _commit(),
    }


def describe() -> dict[str, Any]:
    """Versions, commit, device, precision, XLA and start time of a session, as in `run.json`."""
    return {
        **versions(),
        "device": devices.describe(),
        "precision": keras.config.dtype_policy().name,
        "xla": use_xla(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _commit():
    """The commit of this package's checkout, with "+" if files have changed; None outside of a checkout."""
    root = pathlib.Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed.strip() else "")
