"""The command line `python -m tfjc.analyze`, as its users start it."""

import json
import os
import sys

import forks
import keras
import numpy as np
import pytest
from conftest import ROOT


def analyze(*arguments, cwd):
    command = [sys.executable, "-m", "tfjc.analyze", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return forks.run(command, cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "gan.keras"
    z = keras.Input([5], name="z")
    x = keras.layers.Reshape([6, 6, 1])(keras.layers.Dense(36, activation="tanh")(z))
    keras.Model(z, x).save(path)
    return path


def test_a_keras_file_is_analysed_in_float64_as_in_float32(model, tmp_path):
    results = {}
    for name, flags in {"float32": [], "float64": ["--float64"]}.items():
        done = analyze(f"--model={model}", "--samples=6", f"--output={name}", *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        for word in ("mean log-condition", "effective rank", "quotient", "walks.png"):
            assert word in done.stdout
        assert "6/6" in done.stderr  # the progress bar
        results[name] = json.loads((tmp_path / name / "analysis.json").read_text())
    narrow, wide = results["float32"], results["float64"]
    assert (narrow["float64"], wide["float64"], narrow["prior"]) == (False, True, "normal")
    np.testing.assert_allclose(wide["log_condition"], narrow["log_condition"], rtol=1e-4)
    assert wide["log_condition"] != narrow["log_condition"]
    assert wide["floor"] < 1e-6 * narrow["floor"]


def test_a_run_directory_is_analysed_where_it_is_named_after(finished_run, tmp_path):
    done = analyze(f"--model={finished_run.path}", "--step=2", "--samples=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "analysis" / finished_run.path.name / "analysis.json").read_text())
    assert found["model"].endswith("at step 2")
    assert found["samples"] == 3
