"""The command line `python -m tfjc.dynamics`, as its users start it."""

import json
import os
import sys

import forks
import pytest
from conftest import ROOT
from PIL import Image

# The command with a hundredth of the streamlines, which take half of the time of a figure.
SPARSE = """
import runpy
from matplotlib.axes import Axes
streamplot = Axes.streamplot
Axes.streamplot = lambda axes, *field, **options: streamplot(axes, *field, **{**options, "density": 0.1})
runpy.run_module("tfjc.dynamics", run_name="__main__", alter_sys=True)
"""


def dynamics(*arguments, cwd, program=("-m", "tfjc.dynamics")):
    command = [sys.executable, *program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return forks.run(command, cwd=cwd, env=environment)


def test_a_figure_is_drawn_and_recorded(tmp_path):
    """On a coarse grid; the fixed point does not depend on it."""
    done = dynamics("--gin_file=gin/dynamics/gaussian_bias.gin", "--gin_bindings=Portrait.cells = 30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 × stable focus: (0, 0)" in done.stdout
    (panel,) = json.loads((tmp_path / "runs/dynamics/gaussian_bias/portrait.json").read_text())["panels"]
    assert (panel["names"], panel["cells"], panel["field"]["class"]) == (["b_d", "b_g"], 30, "OneParameterGAN")
    assert panel["fixed_points"][0]["class"] == "stable focus"
    assert panel["fixed_points"][0]["eigenvalues"][0] == pytest.approx([-1.0, 1.324781], rel=1e-5)
    assert min(Image.open(tmp_path / "runs/dynamics/gaussian_bias/portrait.png").size) > 400


def test_all_figures_go_into_directories_of_their_names(tmp_path):
    """As small as they can be made by bindings that fit all files."""
    small = [
        "Portrait.cells = 3",
        "Portrait.starts = []",
        "MLPGAN.width = 4",
        "MLPGAN.samples = 10",
        "Averaged.draws = 1",
    ]
    few = [f"{scope}OneParameterGAN.samples = 3" for scope in ("", "many/", "soft/many/")]
    bindings = [f"--gin_bindings={binding}" for binding in [*small, *few]]
    done = dynamics("--all", f"--workdir={tmp_path / 'all'}", *bindings, cwd=tmp_path, program=("-c", SPARSE))
    assert done.returncode == 0, done.stderr
    expected = {path.stem for path in (ROOT / "gin" / "dynamics").glob("*.gin")}
    assert {path.parent.name for path in (tmp_path / "all").rglob("portrait.png")} == expected
    assert {path.parent.name for path in (tmp_path / "all").rglob("portrait.json")} == expected
    assert [path.name for path in tmp_path.iterdir()] == ["all"]
