"""The versions that are claimed: pyproject.toml, the check at import and the tools say the same."""

import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import types

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


@pytest.mark.parametrize(
    "environment, settings, message",
    [
        ({"KERAS_BACKEND": "jax"}, "{}", r"backend tensorflow, found jax: set KERAS_BACKEND=tensorflow"),
        ({}, '{"backend": "torch"}', "backend tensorflow, found torch"),
        ({}, '{"image_data_format": "channels_first"}', r"found image_data_format channels_first: .*keras\.json"),
        ({"KERAS_BACKEND": "tensorflow"}, '{"backend": "torch"}', None),
        ({}, '{"backend": "tensorflow", "image_data_format": "channels_last"}', None),
        ({}, "{", None),
        ({}, "[1]", None),
        ({}, None, None),
    ],
)
def test_other_settings_of_keras_are_refused_in_one_line(tmp_path, environment, settings, message):
    if settings is not None:
        (tmp_path / "keras.json").write_text(settings)
    with contextlib.nullcontext() if message is None else pytest.raises(ImportError, match=message):
        tfjc._check_settings(environment | {"KERAS_HOME": str(tmp_path)}, None)


@pytest.mark.parametrize("backend, layout", [("jax", "channels_last"), ("tensorflow", "channels_first")])
def test_settings_of_an_imported_keras_count(backend, layout):
    def keras(backend, layout):
        settings = {"backend": lambda: backend, "image_data_format": lambda: layout}
        part = types.SimpleNamespace(**settings)
        return types.SimpleNamespace(backend=part, config=part)

    tfjc._check_settings({"KERAS_BACKEND": "jax"}, keras("tensorflow", "channels_last"))
    with pytest.raises(ImportError, match=f"found .*{backend if backend == 'jax' else layout}"):
        tfjc._check_settings({}, keras(backend, layout))


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


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], ["geometry", "saving"]),
        (["-W", "ignore"], ["geometry", "saving"]),
        (["-W", "ignore", "tests/runs", "tests/saving"], ["runs", "saving"]),
    ],
    ids=str,
)
def test_the_arguments_of_tools_oldest_go_to_pytest(tmp_path, arguments, expected):
    """An option and its value name no tests. The environment is this one, and the tests are empty."""
    for name in ("geometry", "saving", "runs"):
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / f"test_{name}.py").write_text("def test(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    (tmp_path / ".venv-oldest" / "bin").mkdir(parents=True)
    (tmp_path / ".venv-oldest" / ".made").touch()
    python = tmp_path / ".venv-oldest" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "tools").mkdir()
    command = [shutil.copy(ROOT / "tools" / "oldest", tmp_path / "tools"), "--collect-only", "-q", *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert re.findall(r"^tests/(\w+)/", done.stdout, re.MULTILINE) == expected
