"""Writes files completely or not at all, and tells which keys of a record are scores."""

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A context with a temporary path beside `path`. Its file replaces `path` when the block ends without an error.

    The bytes reach the disk before the file is moved, and the move reaches the disk before the context ends. After a
    power cut `path` is the old file or the new one.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:  # the error of a failed write does not name the file
        error.filename = error.filename or os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: str | os.PathLike) -> None:
    """Flushes a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def take_lock(stream: IO[Any], *, wait: bool) -> bool:
    """Locks an open file for this process, until the file is closed or the process ends.

    Args:
      stream: the open file.
      wait: whether to wait for a process that holds the lock.

    Returns:
      Whether the lock was taken; False only without `wait`.

    Raises:
      OSError: the system or the file system has no locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise OSError(errno.ENOSYS, "this system has no locks") from error  # Windows
    try:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def append_line(path: str | os.PathLike, row: Mapping[str, Any]) -> None:
    """Adds `row` to a file of JSON lines and flushes it to the disk.

    Processes that add lines at the same time wait for each other. A last line that a kill cut off is dropped first. If
    the new line cannot be written completely, the file stays as it was.

    Raises:
      ValueError: the file ends in text that is no part of such a line.
    """
    path = pathlib.Path(path)
    is_new = not path.exists()
    with open(path, "ab", buffering=0) as stream:  # unbuffered: closing would retry a failed write
        with contextlib.suppress(OSError):  # a file system without locks
            take_lock(stream, wait=True)
        complete, line = _complete_lines(path), (json.dumps(row) + "\n").encode()
        if not _may_be_dropped(path, complete):
            raise ValueError(f"{path} ends in text that is no line of JSON: nothing was added to it")
        try:
            stream.truncate(complete)
            while line:
                line = line[stream.write(line) :]
            os.fsync(stream.fileno())
        except OSError as error:
            os.truncate(path, complete)
            error.filename = os.fspath(path)
            raise
    if is_new:
        sync(path.parent)


def _complete_lines(path):
    """The length in bytes of a file's complete lines: everything up to its last newline."""
    with open(path, "rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            stream.seek(start)
            found = stream.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def _may_be_dropped(path, complete):
    """Whether what follows the complete lines is the beginning of an object, or what a power cut leaves."""
    with open(path, "rb") as stream:
        stream.seek(complete)
        return stream.read(1) in (b"", b"{", b"\0")


def is_score(key: str) -> bool:
    """Whether a key of `metrics.jsonl` names a score with its protocol, such as `frechet_distance/mnist/...`.

    Keys under `weights/` are not scores.
    """
    return "/" in key and not key.startswith("weights/")
