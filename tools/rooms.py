"""Prints the rooms of tfjc, their lines, and which room imports from which: `python tools/rooms.py`."""

import ast
import collections
import pathlib

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "tfjc"


def room(parts: tuple[str, ...]) -> str:
    """The folder or module directly under tfjc/ that a module stands in; a folder's `__main__` is one of its own."""
    return "/".join(parts).removesuffix(".py") if parts[1:] == ("__main__.py",) else parts[0].removesuffix(".py")


def imports(path: pathlib.Path) -> set[str]:
    """The rooms that a module imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tfjc":
            _, *parts = node.module.split(".")
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
    return found


def main() -> None:
    """Prints a line for each room, and the totals."""
    lines, arrows = collections.Counter(), collections.defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if parts != ("__init__.py",):
            name = room(parts)
            lines[name] += len(path.read_text(encoding="utf-8").splitlines())
            arrows[name] |= imports(path) - {name}
    for name in sorted(lines):
        print(f"{name:<17} {lines[name]:>6} lines  imports from {', '.join(sorted(arrows[name])) or 'no other room'}")
    total = sum(map(len, arrows.values()))
    print(f"{len(lines)} rooms, {total} arrows, {sum(lines.values())} lines")


if __name__ == "__main__":
    main()
