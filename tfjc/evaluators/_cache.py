"""What is worth computing once on a machine: trained classifiers, and the features of real images."""

import contextlib
import hashlib
import os
import pathlib
import re

import numpy as np

from tfjc.support.files import replacing


def directory():
    """The cache of this machine: `TFJC_CACHE_DIR`, or `tfjc` in `XDG_CACHE_HOME` (`~/.cache` by default)."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("TFJC_CACHE_DIR") or pathlib.Path(home) / "tfjc")


def path(kind, name):
    """Where something of a kind is kept; whatever in `name` is not fit for a file's name becomes "_"."""
    return directory() / kind / re.sub(r"[^\w.-]+", "_", name)


@contextlib.contextmanager
def locked(file):
    """One process at a time, for this file; where nothing can be locked, all at once."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):  # file systems without locks; Windows
            import fcntl

            file.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(open(file.with_name(f".{file.name}.lock"), "w")), fcntl.LOCK_EX)
        yield


def digest(*parts):
    """A name for arrays and texts: 16 hexadecimal digits of the SHA-256 of all of them."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).data)
        else:
            found.update(str(part).encode() + b"\0")
    return found.hexdigest()[:16]


def file_digest(root):
    """The SHA-256 of a file, or of all files of a directory in the order of their names, as 16 hexadecimal digits."""
    files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
    found = hashlib.sha256()
    for file in files:
        found.update(file.relative_to(root).as_posix().encode() + b"\0")
        with open(file, "rb") as stream:
            while piece := stream.read(1 << 20):
                found.update(piece)
    return found.hexdigest()[:16]


def array(name, key, compute):
    """The array `name`, from the cache where it was computed for this `key`, else computed and kept."""
    file = path("features", f"{name}-{key}.npz")
    found = _read(file)
    if found is None:
        with locked(file):
            found = _read(file)
            found = _write(file, compute()) if found is None else found
    return found


def _read(file):
    """The array in a file; None where there is none, or another than was written."""
    try:
        with np.load(file) as saved:
            found = saved["array"]
            return found if digest(found) == str(saved["digest"]) else None
    except Exception:  # what is cut off or overwritten can raise anything, and is computed anew
        return None


def _write(file, found):
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, array=found, digest=digest(found))
    return found
