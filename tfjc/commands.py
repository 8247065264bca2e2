"""What the command lines share: how one is started, and how it ends for a mistake."""

import sys

from absl import app, flags


def fail(command, message):
    """Prints why `python -m tfjc.COMMAND` was called wrongly; returns the exit status for that, 2."""
    print(f"tfjc.{command}: {message}", file=sys.stderr)
    return 2


def start(command, main):
    """Runs `main(argv)` with the flags parsed; ends the process with what it returns, 2 for wrong flags."""

    def parse(argv):
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            sys.exit(fail(command, str(error)))

    app.run(main, flags_parser=parse)
