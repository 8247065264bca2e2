"""What a session of training runs on: versions, commit, device."""

import datetime
import pathlib
import platform
import subprocess

import keras
import numpy as np
import tensorflow as tf

import tfjc
from tfjc.runs import devices
from tfjc.support.xla import use_xla


def describe():
    """Versions, `commit`, what is computed on and how, and the time, as `run.json` has them for each session."""
    return {
        "tfjc": tfjc.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "commit": _commit(),
        "device": devices.describe(),
        "precision": keras.config.dtype_policy().name,
        "xla": use_xla(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _commit():
    """The commit of the checkout that this package lies in, with "+" if it was changed since; None outside of one."""
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
