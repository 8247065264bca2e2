"""Finds the gin files of the experiments, and words gin's errors. Other modules read the files."""

import pathlib
import re

from tfjc.support import checks

STUDIES = "studies"  # their folder


def directory() -> pathlib.Path:
    """The directory of the gin files: `gin/` in a checkout, else the copy inside the installed package."""
    package = pathlib.Path(__file__).parents[1]
    checkout = package.parent / "gin"
    return checkout if (checkout / "digits.gin").exists() else package / "gin_files"


def find(name: str, *, kind: str = "gin file", folder: str = "") -> pathlib.Path:
    """The path of the gin file called `name`.

    A name without a path means one of tfjc's own files; `gin/`, the folder and `.gin` may be left out.

    Args:
      name: the name as the user typed it.
      kind: what the file is, for the message.
      folder: the folder in `directory()` that holds files of this kind.

    Raises:
      ValueError: there is no such file; the message names the nearest of tfjc's own, of studies only for their folder.
    """
    ours = directory() / folder
    short = name.removeprefix("gin/").removeprefix(f"{folder}/" if folder else "").removesuffix(".gin") + ".gin"
    for candidate in (pathlib.Path(name), ours / short):
        if candidate.is_file():
            return candidate
    paths = [path.relative_to(directory()) for path in ours.rglob("*.gin")]
    known = [f"gin/{path.as_posix()}" for path in paths if folder or path.parts[0] != STUDIES]
    raise ValueError(checks.unknown(kind, name, known))


def message(error: BaseException) -> str:
    """The message of an error that passed through gin, without Python's object addresses.

    gin adds a line for each configurable that was being made. Such a line becomes "in the configuration of 'NAME'". The
    line of `train_and_evaluate` is left out, because that is the whole run.
    """
    text = re.sub(r" at 0x[0-9a-f]+", "", str(error))
    text = re.sub(r"\n *In call to configurable 'train_and_evaluate' \(.*\)", "", text)
    return re.sub(
        r"\n *In call to configurable '(.+?)' \(.*?>\)(?: in scope '(.+?)')?",
        lambda found: f"\n  in the configuration of '{'/'.join(filter(None, (found[2], found[1])))}'",
        text,
    )
