"""The Python of README and guide runs, on tiny networks; the flags, gin files and bindings they name exist."""

import functools
import json
import re
import shlex
import sys

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

import tfjc
from tfjc import evaluators
from tfjc.runs import configuration

pytestmark = pytest.mark.usefixtures("grappler")

PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "docs/guide.md")}
TEXT = "\n".join(PAGES.values())
N_Z = 8  # as in the run that `finished_run` makes
OTHERS = {"help", "logdir"}  # absl's own flag, and TensorBoard's


def make_networks(n_z=N_Z):
    layers = keras.layers
    generator = [keras.Input([n_z]), layers.Dense(64, "tanh"), layers.Reshape([8, 8, 1])]
    return keras.Sequential(generator), keras.Sequential([keras.Input([8, 8, 1]), layers.Flatten(), layers.Dense(1)])


class Model:
    """Somebody's own model: whatever its data are, `fit` makes two steps."""

    def fit(self, *data, callbacks):
        own = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
        own.compile("sgd", "mse")
        own.fit(np.zeros([4, 2]), np.zeros([4, 1]), batch_size=2, verbose=0, callbacks=callbacks)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_runs(page, finished_run, tmp_path, monkeypatch):
    """All blocks in one namespace, as a reader would type them, with fewer samples and epochs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFJC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys.modules[evaluators.classifier.__module__], "_LEAST_STEPS", 2)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits_jc_seed0").symlink_to(finished_run.path)
    generator, critic = make_networks()
    random = np.random.default_rng(0)
    names = {"tf": tf, "keras": keras, "np": np, "tfjc": tfjc, "n_z": N_Z}
    names |= {"z": tf.random.stateless_normal([3, N_Z], [0, 1])}
    names |= {"generator": generator, "critic": critic, "make_networks": make_networks, "model": Model()}
    names |= {"step": tf.constant(0), "loss": 0.0, "critic_loss": 0.0, "real": tf.zeros([3, 8, 8, 1])}
    names |= {"images": random.integers(0, 256, [256, 8, 8, 1], np.uint8), "labels": np.arange(256) % 3}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        with_labels = "tf.concat([z, labels]" in block  # a generator whose one input ends with a one-hot label
        own = {"generator": make_networks(N_Z + 10)[0], "classes": [0, 1, 2]} if with_labels else {}
        names |= {"generator": generator, **own}
        small = block.replace("5000", "40").replace("epochs=10", "epochs=1")
        exec(compile(small, page, "exec"), names)
    assert names.get("scores", names["watch"]).history


@functools.cache
def flags(module):
    """The names of a command's flags."""
    done = forks.run([sys.executable, "-m", module, "--helpfull"], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    return set(re.findall(r"^ +--(?:\[no\])?(\w+):", printed, re.MULTILINE))


def commands():
    """[(module, its arguments)] of the pages' commands, in blocks and in the text."""
    text = TEXT.replace("\\\n", " ")
    for found in re.finditer(r"python[ \n]-m[ \n](tfjc[.\w]*)((?:\s+--\w+(?:=(?:\"[^\"\n]*\"|[^\s`\"]+|\"))*)*)", text):
        yield found[1], shlex.split(found[2])


def test_commands_have_flags_and_files_that_there_are():
    found = list(commands())
    assert {"tfjc.train", "tfjc.evaluate", "tfjc.analyze", "tfjc.study.run"} <= {module for module, _ in found}
    for module, arguments in found:
        for name, _, value in (argument[2:].partition("=") for argument in arguments):
            assert name in flags(module), f"{module} --{name}"
            if name == "gin_file":
                assert (ROOT / value).is_file(), value


def test_every_flag_that_is_named_exists():
    known = set().union(*(flags(module) for module, _ in commands())) | OTHERS
    known |= {f"no{name}" for name in known}
    assert set(re.findall(r"(?<![\w-])--(\w+)", TEXT)) <= known


@pytest.mark.parametrize("binding", sorted(set(re.findall(r'--gin_bindings="([^"]+)"', TEXT))))
def test_bindings_are_valid(binding):
    configuration.parse([], [binding])


def test_the_notebook_runs(tmp_path, monkeypatch):
    """The cells of docs/quickstart.ipynb in one namespace, as Jupyter would run them, for one epoch."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs/quickstart.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = {}
    for index, cell in enumerate(code):
        python = re.sub(r"^%.*$", "", cell, flags=re.MULTILINE).replace("epochs=45", "epochs=1")
        exec(compile(python, f"cell {index}", "exec"), names)
    assert names["plain_history"][-1]["step"] == names["clamped_history"][-1]["step"] == 28
    names["plt"].close("all")
    np.testing.assert_array_equal(names["loaded"](names["z"]), names["clamped"](names["z"], training=False))
