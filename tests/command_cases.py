"""Runs one of the command lines many times in one process: importing TensorFlow takes longer than a mistake.

python command_cases.py COMMAND CASES [SECONDS], where CASES is lists of arguments in JSON, prints [status, output] of
each. A case may take SECONDS.
"""

import contextlib
import importlib
import io
import json
import signal
import sys

from absl import flags

from tfjc.runs import commands

PATIENCE = 30  # seconds: a mistake that takes longer has been accepted


def too_long(*_):
    sys.exit("still at it")


def main(command, cases, seconds=PATIENCE):
    """Prints the answer to each case."""
    signal.signal(signal.SIGALRM, too_long)
    module = importlib.import_module({"dynamics": "tfjc.dynamics.__main__"}.get(command, f"tfjc.{command}"))
    print("\n" + json.dumps([called(command, module, case, int(seconds)) for case in json.loads(cases)]))


def called(command, module, arguments, seconds):
    """(exit status, all that was printed) of `python -m tfjc.COMMAND ARGUMENTS`."""
    for name in list(flags.FLAGS):
        flags.FLAGS[name].unparse()
    sys.argv, printed = [command, *arguments], io.StringIO()
    signal.alarm(seconds)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            commands.start(command, module.main)
        except SystemExit as ended:
            return ended.code, printed.getvalue()
        finally:
            signal.alarm(0)
    raise AssertionError("a command line ends with an exit status")


if __name__ == "__main__":
    main(*sys.argv[1:])
