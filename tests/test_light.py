"""Whoever watches a generator needs TensorFlow, Keras, NumPy, SciPy and Matplotlib alone."""

import subprocess
import sys

import forks
from conftest import ROOT

# scikit-learn is not among these: Keras itself imports it where it is installed.
OTHERS = ["tensorflow_probability", "tf_keras", "tensorflow_datasets", "tensorflow_gan", "tensorflow_hub", "gin", "ray"]
BLOCKED = f"""
import sys

for name in list(sys.modules):  # the process is a fork of one that has imported them
    if name.split(".")[0] in {OTHERS}:
        del sys.modules[name]

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OTHERS}:
            raise AttributeError(f"{{name}} is broken by a new TensorFlow")

sys.meta_path.insert(0, Broken())
"""
WATCHING = """
import pathlib
import keras
import numpy as np
import tfjc

generator = keras.Sequential([keras.Input([2]), keras.layers.Dense(12), keras.layers.Reshape([2, 2, 3])])
critic = keras.Sequential([keras.Input([2, 2, 3]), keras.layers.Flatten(), keras.layers.Dense(1)])
clamping = tfjc.penalties.JacobianClamping(1.0, 1.1)
gan = tfjc.models.GAN(generator, critic, generator_penalties=[clamping])
gan.compile()
watch = tfjc.callbacks.Conditioning(generator, np.ones([3, 2], "float32"))
history = gan.fit(np.zeros([8, 2, 2, 3], "float32") - 0.5, batch_size=4, epochs=1, verbose=0, callbacks=[watch])
assert np.isfinite(watch.history[-1]["mean_log_condition"])
assert len(tfjc.geometry.spectrum(generator, np.ones([3, 2], "float32")).log_condition) == 3
generator.save("generator.keras")
sys.argv = ["analyze", "--model=generator.keras", "--samples=4", "--output=analysis"]
from tfjc import analyze
analyze.run()
"""


def test_watching_clamping_and_analysing_work_where_other_libraries_are_broken(tmp_path):
    code = BLOCKED + f"sys.path.insert(0, {str(ROOT)!r})" + WATCHING
    done = forks.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "mean log-condition" in done.stdout
    assert (tmp_path / "analysis" / "spectra.png").exists()


RECORDING = """
import sys
sys.modules |= {"tensorflow": None, "keras": None}
sys.path.insert(0, "tools/pjrt")
import _records
import numpy as np
spectrum = _records.spectrum(np.stack([np.diag([1.0, 4.0])] * 2), np.eye(2), 1e-7)
assert np.allclose(spectrum.log_condition, np.log(4.0))
logits = 1000.0 * np.eye(8)
assert np.isclose(_records.scored(logits, logits, logits, "mine", "mine")["classifier_score"], 8.0)
"""


def test_records_of_a_gpu_are_made_without_tensorflow():
    done = subprocess.run([sys.executable, "-c", RECORDING], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
