"""Standard output and error that never end a command: closed, cut off by `| head`, on a full disk, in any encoding."""

import io
import os
import sys


def steady() -> None:
    """Replaces `sys.stdout` and `sys.stderr` by streams that drop what cannot be written.

    Characters that the encoding lacks become escapes such as `\\u03bb`. What somebody else has put in the place of
    Python's own streams stays.
    """
    for descriptor in (0, 1, 2):
        _open(descriptor)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        own = getattr(sys, f"__{name}__")
        if getattr(sys, name) is own:
            setattr(sys, name, _stream(descriptor, own))


def _open(descriptor):
    """Opens the null device in the place of a closed descriptor, which the next opened file would get otherwise."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def _stream(descriptor, own):
    return io.TextIOWrapper(
        io.BufferedWriter(_Dropping(descriptor, "w", closefd=False)),
        encoding=getattr(own, "encoding", "utf-8"),  # Python has no stream where the descriptor was closed
        errors="backslashreplace",
        line_buffering=getattr(own, "line_buffering", False),
        write_through=getattr(own, "write_through", False),
    )


class _Dropping(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data) -> int:
        """The number of bytes that count as written."""
        try:
            return super().write(data)
        except OSError:
            return len(data)
