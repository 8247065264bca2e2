"""The layout of docs/architecture.md: a module imports only from floors below its own."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = [
    {"support"},
    {"geometry", "losses"},
    {"penalties", "layers", "datasets"},
    {"architectures"},
    {"models"},
    {"evaluators", "saving"},
    {"callbacks"},
    {"dynamics"},
    {"runs"},
    {"train", "evaluate", "analyze", "study", "dynamics.__main__", "__main__"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
DYNAMICS = sorted(
    f"dynamics.{path.stem}" for path in (ROOT / "tfjc" / "dynamics").glob("[!_]*.py") if path.stem != "callback"
)
FILES = sorted(path for path in (ROOT / "tfjc").rglob("*.py") if path != ROOT / "tfjc" / "__init__.py")


def unit(path):
    """The module or package directly under tfjc that a file belongs to; a package's `__main__` is one of its own."""
    package, *rest = path.relative_to(ROOT / "tfjc").parts
    return f"{package}.__main__" if rest == ["__main__.py"] else package.removesuffix(".py")


def imported(path):
    """The names that a file imports: ("tfjc", unit) for ours, (package, None) for others."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name.split(".")[0], [*name.name.split("."), None][1]) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            package, *rest = node.module.split(".")
            yield from ((package, rest[0] if rest else name.name) for name in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_only_from_floors_below(path):
    me = unit(path)
    assert me in FLOOR, f"{me} has no floor: add it to FLOORS and to docs/architecture.md"
    for package, name in imported(path):
        if package == "tfjc" and name is not None and name != me:
            assert FLOOR[name] < FLOOR[me], f"{me} must not import {name}"


def test_only_the_configuration_meets_gin():
    """And the plan of a study with its bindings, which must not load what `runs.configuration` does."""
    users = {path.relative_to(ROOT / "tfjc").as_posix() for path in FILES if ("gin", None) in set(imported(path))}
    assert users == {"runs/configuration.py", "study/_plan.py", "study/_bindings.py"}


LIGHT = [
    "support.checks",
    "support.files",
    "support.figures",
    "support.noise",
    "support.run_directory",
    "runs.commands",
]
LIGHT += ["train", "evaluate", "analyze", "study.statistics", "study.run", "study.report", "study.lambdas"]


ONE_AFTER_ANOTHER = """
import importlib, sys
sys.modules["fcntl"] = None  # which Windows lacks
from absl import flags
for name in sys.argv[1:]:
    importlib.import_module(f"tfjc.{name}")
    if "tensorflow" in sys.modules:
        sys.exit(f"tfjc.{name} imports TensorFlow")
    for flag in list(flags.FLAGS):  # several commands define the same
        delattr(flags.FLAGS, flag)
"""


def test_needs_no_tensorflow():
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER, *LIGHT, *DYNAMICS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_gin_folder_does_not_shadow_the_gin_package():
    assert not list((ROOT / "gin").rglob("__init__.py"))


def test_what_the_documents_link_to_exists():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text()
        assert "@@" not in text, page
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
