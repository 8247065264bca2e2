"""The versions that are claimed: pyproject.toml, the check at import and the tools say the same."""

import importlib.util
import pathlib
import re
import sys
import tomllib

import pytest
from conftest import ROOT

import tfjc

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("python", "keras", "message"),
    [
        ((3, 10, 13), "3.15.1", r"Python 3\.11 or later, found 3\.10\.13"),
        ((3, 11, 0), "3.13.2", r"Keras 3\.14 or later, found 3\.13\.2: pip install"),
        ((3, 11, 0), "2.15.0", r"Keras 3\.14 or later, found 2\.15\.0"),
    ],
)
def test_older_versions_are_refused_in_one_line(python, keras, message):
    with pytest.raises(ImportError, match=message) as refused:
        tfjc._check_versions(python, keras)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("keras", ["3.14.0", "3.15.1", "3.20.0rc1", "4.0.0", None])
def test_the_oldest_claimed_and_later_ones_pass(keras):
    tfjc._check_versions((3, 11, 0), keras)
    tfjc._check_versions(sys.version_info, keras)


def test_the_claims_agree():
    dependencies = {re.split(r"[<>=\[]", entry)[0]: entry for entry in PROJECT["dependencies"]}
    assert dependencies["keras"] == f"keras>={tfjc._KERAS[0]}.{tfjc._KERAS[1]}"
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    oldest = (ROOT / "tools" / "oldest").read_text()
    bounded = {name: re.search(r">=([\d.]+)", entry) for name, entry in dependencies.items()}
    for name, claimed in ((name, found[1]) for name, found in bounded.items() if found):
        tested = re.search(rf"\s{name}==([\d.]+)", oldest)[1]
        assert tested == claimed or tested.startswith(f"{claimed}."), name
    assert "3.11 to 3.13" in (ROOT / "README.md").read_text()


def test_every_console_script_exists():
    for name, target in PROJECT["scripts"].items():
        module, _, function = target.partition(":")
        assert name.replace("-", ".").replace("tfjc.", "") == module.removeprefix("tfjc.").removesuffix(".__main__")
        source = pathlib.Path(importlib.util.find_spec(module).origin).read_text()
        assert f"def {function}() -> None:" in source
