"""Finds the gin files of the experiments, and words gin's errors. Other modules read the files."""

import pathlib
import re
from collections.abc import Collection, Mapping

from tfjc.support import checks

STUDIES, DYNAMICS = "studies", "dynamics"  # their folders


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
      ValueError: there is no such file; the message names the nearest of tfjc's own in `folder`.
    """
    ours = directory() / folder
    short = name.removeprefix("gin/").removeprefix(f"{folder}/" if folder else "").removesuffix(".gin") + ".gin"
    for candidate in (pathlib.Path(name), ours / short):
        if candidate.is_file():
            return candidate
    known = {path.stem: f"gin/{path.relative_to(directory()).as_posix()}" for path in ours.glob("*.gin")}
    close = checks.nearest(pathlib.Path(short).stem, known)
    named = [known[stem] for stem in close] or sorted(known.values())
    raise ValueError(f"unknown {kind} {name!r}; {'nearest' if close else 'valid'}: {', '.join(named)}")


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


def explain(error: BaseException, bindable: Mapping[str, Collection[str]]) -> str:
    """`message`, with the valid names nearest to an unknown one, and with the binding that is missing.

    Args:
      error: the error that passed through gin.
      bindable: the parameters of each configurable that a gin file may bind.
    """
    text = re.sub(r"malformed node or string.*\n", "", message(error)).strip()
    unbound = re.search(r"No values supplied by Gin .*: \[(.*)\]\n.*\n.*\n *in the configuration of '(.+)'", text)
    if unbound:
        names = sorted(re.findall(r"\w+", unbound[1]))
        return f"{unbound[2]} needs {', '.join(names)}: bind {', '.join(f'{unbound[2]}.{name}' for name in names)}"
    token = re.search(r"Failed to parse token '(.+?)'", text)
    if token:
        return f"{text}\n{token[1]} is no value: a string needs quotes ('{token[1]}'), a configurable needs @"
    missing = re.search(r"No configurable matching (?:reference )?'@?([\w./]+)", text)
    if missing:
        return f"{text}\n{checks.unknown('configurable', missing[1].rpartition('/')[2], bindable)}"
    supplied = re.search(r"Configurable '(\w+)' has denylisted kwarg '(\w+)'", text)
    if supplied:
        return f"{text}\n{supplied[2]} cannot be bound in gin files: a flag (see --help) or the run itself sets it"
    parameter = re.search(r"Configurable '(\w+)' doesn't have a parameter named '(\w+)'", text)
    kind, name = parameter.groups() if parameter else _refused_by_keras(text)
    if kind in bindable:
        return f"{text}\n{checks.unknown(f'parameter of {kind}', name, bindable[kind])}"
    return text


def _refused_by_keras(text):
    """(configurable, parameter) in Keras's message: its optimisers take any keyword, and refuse it when constructed."""
    name = re.search(r"not recognized: \{'(\w+)'", text)
    kind = re.search(r"in the configuration of '(?:.+/)?(\w+)'", text)
    return (kind[1], name[1]) if kind and name else (None, None)
