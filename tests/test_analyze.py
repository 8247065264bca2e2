"""The command line `python -m tfjc.analyze`, as its users start it."""

import json
import os
import sys

import forks
import keras
import numpy as np
from conftest import ROOT


def test_a_run_directory_and_a_keras_file_in_float64_as_in_float32(finished_run, tmp_path):
    """One process analyses all, in turn; the run is analysed where it is named after.

    A decoder of latents of several axes is analysed in part.
    """
    z = keras.Input([5], name="z")
    x = keras.layers.Reshape([6, 6, 1])(keras.layers.Dense(36, activation="tanh")(z))
    keras.Model(z, x).save(tmp_path / "gan.keras")
    cases = [["--model=gan.keras", "--samples=6", f"--output={name}"] for name in ("float32", "float64")]
    cases[1].append("--float64")
    cases.append([f"--model={finished_run.path}", "--step=2", "--samples=3"])
    z = keras.Input([4, 4, 2], name="z")
    x = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(3, 3, padding="same")(z))
    keras.Model(z, x).save(tmp_path / "decoder.keras")
    cases.append(["--model=decoder.keras", "--partial", "--samples=2", "--probes=3", "--output=partial"])
    program = [sys.executable, ROOT / "tests/command_cases.py", "analyze", json.dumps(cases), "600"]
    done = forks.run(program, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for status, printed in answers:
        assert status == 0, printed
    for words in ("memory: ", "time: about", "0/32", "participation ratio", "partial/spectra.npz"):
        assert words in answers[3][1]
    partial = json.loads((tmp_path / "partial" / "analysis.json").read_text())
    assert (partial["n_z"], partial["samples"], partial["probes"]) == (32, 2, 3)
    for _, printed in answers[:2]:
        for word in ("mean log-condition", "effective rank", "quotient", "walks.png"):
            assert word in printed
        assert "6/6" in printed  # the progress bar
    narrow, wide = (json.loads((tmp_path / name / "analysis.json").read_text()) for name in ("float32", "float64"))
    assert (narrow["float64"], wide["float64"], narrow["prior"]) == (False, True, "normal")
    np.testing.assert_allclose(wide["log_condition"], narrow["log_condition"], rtol=1e-4)
    assert wide["log_condition"] != narrow["log_condition"]
    assert wide["floor"] < 1e-6 * narrow["floor"]
    found = json.loads((tmp_path / "analysis" / finished_run.path.name / "analysis.json").read_text())
    assert found["model"].endswith("at step 2")
    assert found["samples"] == 3
