"""Runs one of the command lines many times in one process: importing TensorFlow takes longer than a mistake.

python command_cases.py COMMAND CASES, where CASES is lists of arguments in JSON; prints [status, output] of each.
"""

import contextlib
import importlib
import io
import json
import signal
import sys

from absl import flags

from tfjc.runs import commands

PATIENCE = 30  # seconds: what takes longer has been accepted


def too_long(*_):
    sys.exit(f"still at it after {PATIENCE} s")


def main(command, cases):
    """Prints the answer to each case."""
    signal.signal(signal.SIGALRM, too_long)
    module = importlib.import_module({"dynamics": "tfjc.dynamics.__main__"}.get(command, f"tfjc.{command}"))
    print("\n" + json.dumps([called(command, module, arguments) for arguments in json.loads(cases)]))


def called(command, module, arguments):
    """(exit status, all that was printed) of `python -m tfjc.COMMAND ARGUMENTS`."""
    for name in list(flags.FLAGS):
        flags.FLAGS[name].unparse()
    sys.argv, printed = [command, *arguments], io.StringIO()
    signal.alarm(PATIENCE)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            commands.start(command, module.main)
        except SystemExit as ended:
            return ended.code, printed.getvalue()
    raise AssertionError("a command line ends with an exit status")


if __name__ == "__main__":
    main(*sys.argv[1:])
