"""Files that are written whole, and the names of scores in records."""

import contextlib
import json
import os
import pathlib


@contextlib.contextmanager
def replacing(path):
    """A temporary path beside `path` to write to; moved onto `path` in one step when the block ends well.

    The bytes are on the disk before the move, and the move is before `replacing` ends: a power cut leaves the old file
    or the new one.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:  # a failed write does not say of which file
        error.filename = error.filename or os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path):
    """Brings a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path, text):
    """Writes `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_line(path, row):
    """Adds `row` to a file of JSON lines and brings it to the disk, after whole lines alone.

    A last line that a kill cut off is dropped; a line that cannot be written whole leaves the file as it was.
    """
    path = pathlib.Path(path)
    is_new = not path.exists()
    with open(path, "ab", buffering=0) as stream:  # a buffer would be written again when the file is closed
        whole, line = _whole_lines(path), (json.dumps(row) + "\n").encode()
        try:
            stream.truncate(whole)
            while line:
                line = line[stream.write(line) :]
            os.fsync(stream.fileno())
        except OSError as error:
            os.truncate(path, whole)
            error.filename = os.fspath(path)
            raise
    if is_new:
        sync(path.parent)


def _whole_lines(path):
    """How many bytes of a file are lines that end."""
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


def is_score(key):
    """Whether a key of `metrics.jsonl` is that of a score with its protocol: `what/network/...`, not `weights/...`."""
    return "/" in key and not key.startswith("weights/")
