"""Where the gin files of the experiments lie; the files are found here, and read elsewhere."""

import pathlib

from tfjc.support import checks


def directory() -> pathlib.Path:
    """The directory of the gin files: `gin/` of the checkout, or the copy that is installed with the package."""
    package = pathlib.Path(__file__).parents[1]
    checkout = package.parent / "gin"
    return checkout if (checkout / "digits.gin").exists() else package / "gin_files"


def find(name: str, *, kind: str = "gin file", folder: str = "") -> pathlib.Path:
    """The gin file called `name`: a path, or one of ours by name, with or without `gin/`, the folder and `.gin`.

    Args:
      name: what the user typed.
      kind: what the file is, for the message.
      folder: the folder of `directory()` that holds files of this kind.

    Raises:
      ValueError: there is no such file; the message names the nearest of ours.
    """
    ours = directory() / folder
    short = name.removeprefix("gin/").removeprefix(f"{folder}/" if folder else "").removesuffix(".gin") + ".gin"
    for candidate in (pathlib.Path(name), ours / short):
        if candidate.is_file():
            return candidate
    known = [f"gin/{path.relative_to(directory()).as_posix()}" for path in ours.rglob("*.gin")]
    raise ValueError(checks.unknown(kind, name, known))
