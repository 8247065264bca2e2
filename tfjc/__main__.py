"""Lists the command lines: `python -m tfjc`."""

import sys

from tfjc.support import checks

COMMANDS = {
    "train": "train a generator and watch its conditioning",
    "analyze": "measure any trained generator: spectra, quotients, directions in z",
    "evaluate": "score a trained generator's samples, or images, against a dataset",
    "study.run": "train several arms with many seeds",
    "study.report": "write the report of a study, with the paper's claims",
    "study.lambdas": "choose λ_min and λ_max from a study's unclamped runs",
    "dynamics": "draw the dynamics of tiny GANs",
}


def main(arguments: list[str]) -> int:
    """Prints the commands; returns the exit status, 2 for an unknown command."""
    if arguments and arguments[0] not in ("-h", "--help", "--helpfull"):
        close = checks.nearest(arguments[0], COMMANDS)
        print(f"tfjc: expected python -m tfjc.COMMAND, found {arguments[0]!r}", file=sys.stderr)
        print(f"nearest: python -m tfjc.{close[0]}" if close else "python -m tfjc lists the commands", file=sys.stderr)
        return 2
    width = max(map(len, COMMANDS))
    for name, purpose in COMMANDS.items():
        print(f"  python -m tfjc.{name:<{width}}  {purpose}")
    print("Each takes --help.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
