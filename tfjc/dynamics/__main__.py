"""Draws phase portraits: `python -m tfjc.dynamics --gin_file=gin/dynamics/gaussian_bias.gin`, or `--all`."""

import json
import os
import pathlib
from collections.abc import Sequence

from absl import flags

from tfjc.runs import commands
from tfjc.support import gin_files
from tfjc.support.files import write_text
from tfjc.support.run_directory import RunDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # set before TensorFlow is imported

_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "The figure to draw: a file of gin/dynamics/; repeatable.")
_GIN_BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A gin binding that overrides the files; repeatable.")
_ALL = flags.DEFINE_boolean("all", False, "Draw every file of gin/dynamics/, each into a directory of its name.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The directory to write; runs/dynamics/NAME by default.")

_DEFAULT = pathlib.Path("runs") / "dynamics"


def main(argv: Sequence[str]) -> int:
    """Computes and draws the figures that the flags name. Returns the exit status: 2 for a user's mistake."""
    return commands.status("dynamics", _start, argv)


def _start():
    if _ALL.value == bool(_GIN_FILE.value):
        raise ValueError("either --gin_file is needed, such as --gin_file=gin/dynamics/gaussian_bias.gin, or --all")
    files = [str(gin_files.find(name, folder=gin_files.DYNAMICS)) for name in _GIN_FILE.value]
    from tfjc.runs import configuration

    with configuration.explained():
        for each, directory in _jobs(files):
            _draw(configuration, each, directory)


def _jobs(files):
    """(gin files, directory to write) of each figure."""
    if not _ALL.value:
        return [(files, pathlib.Path(_WORKDIR.value or _DEFAULT / pathlib.Path(files[-1]).stem))]
    ours = sorted((gin_files.directory() / gin_files.DYNAMICS).glob("*.gin"))
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


def run() -> None:
    """Starts the command line."""
    commands.start("dynamics", main)


if __name__ == "__main__":
    run()
