"""A cache on this machine for trained classifiers and the features of real images."""

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np

from tfjc.support.files import replacing, take_lock


def directory() -> pathlib.Path:
    """The cache's directory: `TFJC_CACHE_DIR`, or `tfjc` in `XDG_CACHE_HOME` (`~/.cache` by default)."""
    own, every = os.environ.get("TFJC_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    try:
        return pathlib.Path(own or pathlib.Path(every or pathlib.Path.home() / ".cache") / "tfjc")
    except RuntimeError:  # a user without a home directory has no cache: nothing can be written here
        return pathlib.Path(os.devnull) / "tfjc"


def path(kind: str, name: str) -> pathlib.Path:
    """The cache's file for `name` among those of a kind; "_" replaces characters that file names cannot hold."""
    return directory() / kind / re.sub(r"[^\w.-]+", "_", name)


@contextlib.contextmanager
def locked(file: pathlib.Path) -> Iterator[None]:
    """A context that one process at a time enters for `file`. File systems without locks, and Windows, have no lock."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            take_lock(stack.enter_context(open(file.with_name(f".{file.name}.lock"), "w")), wait=True)
        yield


def keep(file: pathlib.Path, write: Callable[[], None]) -> None:
    """Calls `write`, which writes `file` in the cache. If that cannot be written, a warning says so, once."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write()
    except (OSError, RuntimeError) as error:  # HDF5 raises RuntimeError on a full disk
        _warn(getattr(error, "strerror", None) or " ".join(str(error).split()))


@functools.cache
def _warn(reason):
    log = logging.getLogger("tfjc").warning
    log("the cache %s cannot be written (%s): nothing is kept. TFJC_CACHE_DIR names another", directory(), reason)


def digest(*parts: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of arrays and texts."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).data)
        else:
            found.update(str(part).encode() + b"\0")
    return found.hexdigest()[:16]


def file_digest(root: pathlib.Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file, or of all files of a directory, sorted by name."""
    files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
    found = hashlib.sha256()
    for file in files:
        found.update(file.relative_to(root).as_posix().encode() + b"\0")
        with open(file, "rb") as stream:
            while piece := stream.read(1 << 20):
                found.update(piece)
    return found.hexdigest()[:16]


def array(name: str, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array `name` for `key`, from the cache; `compute` makes it where the cache lacks it."""
    file = path("features", f"{name}-{key}.npz")
    found = _read(file)
    if found is None:
        with locked(file):
            found = _read(file)
            found = _write(file, compute()) if found is None else found
    return found


def _read(file):
    """The array in a file; None where the file is missing or damaged."""
    try:
        with np.load(file) as saved:
            found = saved["array"]
            return found if digest(found) == str(saved["digest"]) else None
    except Exception:  # a damaged file can raise anything
        return None


def _write(file, found):
    def write():
        with replacing(file) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, array=found, digest=digest(found))

    keep(file, write)
    return found
