"""The scripts outside the package, run as their readers run them, but small."""

import os
import re
import runpy
import sys

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from tfjc.geometry import in_float64

# Runs a program whose own Python processes are forks.
FORKING = """
import multiprocessing, os, runpy, subprocess, sys, forks
original, fork = subprocess.run, multiprocessing.get_context("fork")
def run(command, env=None, **options):
    ours = command[0] == sys.executable
    return forks.run(command, env=env, context=fork) if ours else original(command, env=env, **options)
class Popen(forks.Process):  # with pipes to its standard input and from its standard output
    def __init__(self, command, *, env, stdin, stdout, stderr, text):
        assert stdin == stdout == subprocess.PIPE and text
        self.args = [str(part) for part in command]
        (child_in, parent_out), (parent_in, child_out) = os.pipe(), os.pipe()
        def connect():
            for ours, number in ((child_in, 0), (child_out, 1), (stderr.fileno(), 2)):
                os.dup2(ours, number)
            os.close(parent_out)
            sys.stdin = os.fdopen(0)
        super().__init__(command, context=fork, env=env, preexec_fn=connect)
        os.close(child_in), os.close(child_out)
        self.stdin, self.stdout = os.fdopen(parent_out, "w"), os.fdopen(parent_in)
subprocess.run, subprocess.Popen = run, Popen
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
"""
# For the machine's limit, one small product in place of eight large ones.
SMALL_PRODUCT = """
import _tensorflow, tensorflow as tf
_tensorflow.matmul = lambda: (lambda: tf.matmul(tf.ones([64, 64]), tf.ones([64, 64])), 2 * 64**3)
"""
RUN = 'runpy.run_path(sys.argv[0], run_name="__main__")'


def run(*command, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = forks.run([sys.executable, *command], cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_foreign_gan_of_the_documents(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["foreign_gan.py", "--epochs=2", "--log_dir=logs"])
    runpy.run_path(str(ROOT / "docs/examples/foreign_gan.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(r"mean_log_condition: \d", printed)
    assert re.search(r"step +100 +mean ln κ\(M_z\) +\d", printed)
    assert any(path.name.startswith("events") for path in (tmp_path / "logs").iterdir())


def test_the_clamp_in_loops_of_ones_own(monkeypatch, capsys):
    """In all three loops the clamp moves the quotients towards its interval.

    The loops without it need no graph.
    """
    example = runpy.run_path(str(ROOT / "docs/examples/own_loops.py"))
    example["ADAM"]["learning_rate"] = 1e-2

    def quotients(least, most):
        flags = ["--steps=6", f"--lambda_min={least}", f"--lambda_max={most}"]
        monkeypatch.setattr(sys, "argv", ["own_loops.py", *flags])
        example["main"]()
        return np.array(re.findall(r"median Q +(\S+)", capsys.readouterr().out), float)

    held = quotients(4, 4)
    tf.config.run_functions_eagerly(True)
    try:
        free = quotients(0, 50)
    finally:
        tf.config.run_functions_eagerly(False)
    assert len(free) == len(held) == 3
    assert (held > 1.15 * free).all(), (free, held)


def test_sampling_by_geometry(finished_run, digits_classifier, monkeypatch, capsys):
    """Each way to choose latents has its line of scores; ρ = 0 spreads over the whole pool."""
    flags = [f"--model={finished_run.path}", "--size=8", "--pool=100", "--samples=20"]
    monkeypatch.setattr(sys, "argv", ["sampling_by_geometry.py", *flags])
    runpy.run_path(str(ROOT / "docs/examples/sampling_by_geometry.py"), run_name="__main__")
    lines = [line for line in capsys.readouterr().out.splitlines() if "precision" in line]
    assert len(lines) == 10
    assert lines[3].startswith("ρ = +0.00 (100 of 100)")
    shares = [float(number) for line in lines for number in re.findall(r"(?:precision|recall|coverage) (\S+)", line)]
    assert len(shares) == 30
    assert all(0.0 <= share <= 1.0 for share in shares)


def test_the_jacobian_benchmark(tmp_path):
    """Two latents of a tiny network: its values must agree, and its table be whole; its times mean nothing."""
    flags = ["--networks", "dcgan8-4-2", "--methods", "pullback", "batch_jacobian", "--samples", "2", "--rounds", "1"]
    program = FORKING + SMALL_PRODUCT + RUN
    run("-c", program, ROOT / "tools/benchmarks/jacobian.py", *flags, "--output", tmp_path / "t.md", cwd=tmp_path)
    rows = [line for line in (tmp_path / "t.md").read_text().splitlines() if line.startswith("| dcgan8-4-2")]
    assert ["pullback" in rows[0], "batch_jacobian" in rows[1], len(rows)] == [True, True, 2]
    assert float(re.search(r"to (\S+) \|$", rows[1])[1]) < 1e-5


def test_the_training_benchmark(tmp_path):
    """The first steps of a tiny GAN, with which those of the peers are compared."""
    flags = ["--check", "--cases", "dcgan8-2", "--frameworks", "tfjc"]
    run("-c", FORKING + RUN, ROOT / "tools/benchmarks/train.py", *flags, cwd=tmp_path)


@pytest.mark.parametrize("precision, unit", [("float32", 2.0**-24), ("bfloat16", 2.0**-8)])
def test_the_training_benchmark_computes_in_the_precision_asked_for(precision, unit, monkeypatch):
    """Images of the same weights, relative to those in float64: rounded, but not to fewer bits."""
    tools = ROOT / "tools/benchmarks"
    monkeypatch.syspath_prepend(tools)
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)  # not for the tests after it
    case = runpy.run_path(str(tools / "_training.py"))["case"]("dcgan8-4", clamped=False)
    gan = runpy.run_path(str(tools / "_training_tfjc.py"))["Training"](case, precision).gan
    z = tf.random.stateless_normal([64, case.n_z], [1, 2])
    exact = in_float64(gan.generator)(tf.cast(z, tf.float64))
    assert keras.config.dtype_policy().name == "float32"
    assert 0.05 * unit < tf.norm(tf.cast(gan.generator(z), tf.float64) - exact) / tf.norm(exact) < 8.0 * unit


def test_the_training_benchmark_compares_with_float32_of_the_same_framework(monkeypatch):
    """CPU time in float32 ÷ in bfloat16: 8 ÷ 4 and 9 ÷ 6; its time ÷ ours in a precision: 10 ÷ 8 and 7 ÷ 3.5."""
    monkeypatch.syspath_prepend(ROOT / "tools/benchmarks")
    train = runpy.run_path(str(ROOT / "tools/benchmarks/train.py"))
    times = {("float32", "tfjc"): (8, 8), ("bfloat16", "tfjc"): (3.5, 4)}
    times |= {("float32", "PyTorch, eager"): (10, 9), ("bfloat16", "PyTorch, eager"): (7, 6)}
    results = {
        ("dcgan28-8", False, *who): {"first": 1.0, "difference": 0.0, "turns": [{"seconds": wall, "cpu": cpu}] * 3}
        for who, (wall, cpu) in times.items()
    }
    rows = [dict(zip(train["COLUMNS"], train["_cells"](results, *key), strict=True)) for key in results]
    assert [row["CPU, float32 ÷ it"] for row in rows] == ["", "2.00", "", "1.50"]
    assert [row["ours ÷ it"] for row in rows] == ["", "", "1.25", "2.00"]
