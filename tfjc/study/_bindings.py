"""The gin files and bindings of arms: factors and levels, lists that grow, and bindings that contradict each other."""

import itertools
import pathlib
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gin

from tfjc.support import gin_files

Parts = list[str]  # gin files, which end in ".gin", and bindings
_GROWS = re.compile(r"\s*([\w./]+)\s*\+=(.*)", re.DOTALL)  # PARAMETER += [...]


class _Verbatim(str):
    """A reference or a macro in a value. Its repr is gin's text."""

    def __repr__(self) -> str:
        return str(self)


class _Delegate(gin.config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name, evaluate):
        return _Verbatim(f"@{scoped_configurable_name}{'()' if evaluate else ''}")

    def macro(self, scoped_name):
        return _Verbatim(f"%{scoped_name}")


def product(factors: Mapping[str, Mapping[str, Sequence[str]]], common: Sequence[str]) -> dict[str, Parts]:
    """{"FACTOR=LEVEL,FACTOR=LEVEL": gin files and bindings} of every combination of levels, in the order of factors.

    Args:
      factors: {factor: {level: gin files and bindings}}.
      common: the gin files and bindings of all arms.

    Raises:
      ValueError: two factors bind the same parameter. `PARAMETER += [...]` adds to a list, and may stand in several.
    """
    base = _read(_files(common))
    for (one, levels), (other, others) in itertools.combinations(factors.items(), 2):
        bound, again = (
            {name: level for level, parts in found.items() for name in _changes(parts, base)}
            for found in (levels, others)
        )
        for name in sorted(bound.keys() & again.keys()):
            raise ValueError(
                f"two factors bind {name}: {one}={bound[name]} and {other}={again[name]}. Bind it in one of them, or "
                f"add to a list with {name} += [...]"
            )
    chosen = itertools.product(*([(factor, level) for level in levels] for factor, levels in factors.items()))
    return {
        ",".join(f"{factor}={level}" for factor, level in cell): [
            part for factor, level in cell for part in factors[factor][level]
        ]
        for cell in chosen
    }


def resolve(parts: Sequence[str], common: Sequence[str]) -> Parts:
    """The parts of an arm without `PARAMETER += [...]`: it becomes a binding of the list that the arm has otherwise.

    Args:
      parts: the arm's gin files and bindings.
      common: the gin files and bindings of all arms.

    Raises:
      ValueError: a binding cannot be read, what grows is no list, or a binding of all arms would override the arm's.
    """
    kept = [part for part in parts if not _GROWS.fullmatch(part)]
    grown: dict[str, list] = {}
    for part in parts:
        if found := _GROWS.fullmatch(part):
            read = _read([f"{found[1]} = {found[2]}"])
            name, added = next(iter(read.items()))
            if len(read) > 1 or not isinstance(added, list):
                raise ValueError(f"expected one list after +=, found {part!r}")
            grown[name] = [*grown.get(name, []), *added]
    if growing := [part for part in common if _GROWS.fullmatch(part)]:
        raise ValueError(f"only an arm may add to a list, found {growing[0]!r} in study.bindings")
    shared = _bound(common)
    for name in (*_bound(kept), *grown):
        if name in shared:
            raise ValueError(f"it binds {name}, which study.bindings binds for all arms: the arms would not differ")
    bound = _read([*_files(common), *kept]) if grown else {}
    return [*kept, *(f"{name} = {[*_as_list(bound.get(name)), *added]!r}" for name, added in grown.items())]


def _as_list(value):
    """A bound value as a list; none is the empty list. Raises ValueError for a macro, whose value is unknown here."""
    if isinstance(value, _Verbatim) and value.startswith("%"):
        raise ValueError(f"cannot add to {value}: add to the list where the macro is bound")
    if value is None:
        return []
    return [*value] if isinstance(value, (list, tuple)) else [value]


def _files(parts):
    return [part for part in parts if part.endswith(".gin")]


def _changes(parts, base):
    """The parameters that a level sets: by its bindings, and by its files where these differ from the `base`."""
    return {*_bound(parts), *(name for name, value in _read(_files(parts)).items() if base.get(name) != value)}


def _bound(parts):
    """The parameters that bindings of an arm or a level set. Those in its files are not among them."""
    return _read(part for part in parts if not part.endswith(".gin") and not _GROWS.fullmatch(part))


def _read(parts: Iterable[str]) -> dict[str, Any]:
    """{scope/configurable.parameter: value} of gin files, with what they include, and of bindings; later ones count."""
    found: dict[str, Any] = {}
    for part in parts:
        try:
            if part.endswith(".gin"):
                found |= _read_file(gin_files.find(part))
            else:
                found |= _parse(part, pathlib.Path())
        except (SyntaxError, ValueError, OSError, RecursionError, tokenize.TokenError) as error:
            raise ValueError(f"{part!r} cannot be read as gin: {error}") from error
    return found


def _read_file(path):
    return _parse(path.read_text(encoding="utf-8"), path.parent)


def _parse(text, folder):
    """The bindings in gin's text. Files that it includes are looked for in the `folder`, then among tfjc's own."""
    found = {}
    for statement in gin.config_parser.ConfigParser(text, _Delegate()):
        if isinstance(statement, gin.config_parser.IncludeStatement):
            beside = folder / statement.filename
            found |= _read_file(beside if beside.is_file() else gin_files.find(statement.filename))
        elif isinstance(statement, gin.config_parser.BindingStatement):
            name = f"{statement.scope}/{statement.selector.rpartition('.')[2]}.{statement.arg_name}"
            found[name.strip("/.")] = statement.value
    return found
