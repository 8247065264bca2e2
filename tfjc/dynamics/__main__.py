"""Draws phase portraits: `python -m tfjc.dynamics --gin_file=gin/dynamics/gaussian_bias.gin`, or `--all`."""

import json
import os
import pathlib
import sys

from absl import flags

from tfjc.runs import commands
from tfjc.support.files import write_text
from tfjc.support.run_directory import RunDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "What is drawn: a file of gin/dynamics/; repeatable.")
_GIN_BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A gin binding that overrides the files; repeatable.")
_ALL = flags.DEFINE_boolean("all", False, "Draw every file of gin/dynamics/, each into a directory of its name.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The directory to write; runs/dynamics/NAME by default.")

_DEFAULT = pathlib.Path("runs") / "dynamics"


def main(argv):
    """Computes and draws what the flags name; returns the exit status, 2 for whatever cannot be drawn."""
    if len(argv) > 1:
        return _fail(f"expected only flags, found {argv[1]!r}")
    if _ALL.value == bool(_GIN_FILE.value):
        return _fail("either --gin_file is needed, such as --gin_file=gin/dynamics/gaussian_bias.gin, or --all")
    from tfjc.runs import configuration

    try:
        for files, directory in _jobs(configuration):
            _draw(configuration, files, directory)
    except configuration.ConfigError as error:
        return _fail(error)
    except (ValueError, TypeError, OSError) as error:
        return _fail(configuration.explain(error))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return 0


def _jobs(configuration):
    """(gin files, directory to write) of each figure."""
    if not _ALL.value:
        return [(_GIN_FILE.value, pathlib.Path(_WORKDIR.value or _DEFAULT / pathlib.Path(_GIN_FILE.value[-1]).stem))]
    ours = sorted((configuration.directory() / "dynamics").glob("*.gin"))
    parent = pathlib.Path(_WORKDIR.value or _DEFAULT)
    return [([str(path)], parent / path.stem) for path in ours]


def _draw(configuration, files, directory):
    from tfjc.dynamics import drawing, portraits

    configuration.parse(files, _GIN_BINDINGS.value)
    figure = configuration.phase_portraits()
    RunDirectory(directory).create()
    solved = []
    for panel in figure.panels:
        solved.append(portraits.solve(panel))
        print(portraits.table(solved[-1]), flush=True)
    drawing.figure(solved, directory / "portrait.png", title=figure.title, columns=figure.columns)
    text = json.dumps(portraits.record(figure, solved), indent=2)
    write_text(directory / "portrait.json", text + "\n")
    print(f"written: {directory / 'portrait.png'}, {directory / 'portrait.json'}", flush=True)


def _fail(message):
    return commands.fail("dynamics", message)


if __name__ == "__main__":
    commands.start("dynamics", main)
