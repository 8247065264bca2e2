"""CONTRIBUTING.md's penalty, in a module of one's own, trains by gin."""

import importlib
import re

import gin
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from short_runs import train

PENALTY = re.search(
    r"<!-- tested: penalty -->\n```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL
)[1]


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The page's module as a user would write it outside of tfjc."""
    folder = tmp_path_factory.mktemp("own")
    own = PENALTY.replace("import tensorflow", "import gin\nimport tensorflow").replace(
        "class UnitQuotient", "@gin.configurable\nclass UnitQuotient"
    )
    (folder / "my_penalties.py").write_text(own)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "my_penalties"
    gin.clear_config()


def test_a_penalty_of_ones_own_trains_by_gin(module, tmp_path, unexported):
    own = tmp_path / "mine.gin"
    own.write_text(
        f"import {module}\ninclude 'digits.gin'\n"
        "GAN.generator_penalties = [@UnitQuotient()]\nUnitQuotient.weight = 10.0\n"
    )
    rows = train(tmp_path / "run", "train_and_evaluate.steps = 2", gin_file=str(own)).read_metrics()
    assert rows[-1]["step"] == 2
    penalised, quotient = rows[-1]["generator_penalty"], rows[-1]["quotient"]
    assert np.isfinite([penalised, quotient]).all()
    # E (Q − 1)² ≥ (E Q − 1)²: Jensen's inequality, over the same mini-batches
    assert penalised >= 10.0 * (quotient - 1.0) ** 2 * (1 - 1e-5)


def test_its_value_is_the_formula(module):
    my_penalties = importlib.import_module(module)
    z, moved = tf.zeros([2, 3]), tf.eye(2, 3)
    x, x_moved = tf.zeros([2, 4, 4, 1]), tf.fill([2, 4, 4, 1], 0.75)  # ‖x − x'‖ = 4·0.75 = 3
    penalty = my_penalties.UnitQuotient(weight=0.5)
    np.testing.assert_allclose(penalty(z, moved, x, x_moved), [0.5 * (3 - 1) ** 2] * 2, rtol=1e-6)
