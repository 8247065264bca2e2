"""Bad command lines, gin files, studies and model files: exit status 2, one message, nothing written."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import forks
import keras
import numpy as np
import pytest
from conftest import ROOT

DIGITS, JC = "--gin_file=digits", "--gin_file=digits_jc"
SMALL = ("dcgan.channels=1", "dcgan.n_z=4", "train_and_evaluate.scores=[]", "train_and_evaluate.steps=1")


def bound(*bindings, gin_file=JC):
    return [gin_file, *(f"--gin_bindings={binding}" for binding in (*SMALL, *bindings))]


def steps(value):
    return bound(f"train_and_evaluate.steps = {value}")


def study(*bindings):
    return ["--gin_file=quick", *(f"--gin_bindings=study.{binding}" for binding in bindings)]


# {command: [(arguments, what the message says of what was expected, and of what was found)]}; GIVEN is a directory with
# the files that `given` makes.
CASES = {
    "train": [
        ([], "--gin_file is needed", "--gin_file=gin/digits_jc.gin"),
        (["--gin_file=gin/digitz.gin"], "nearest: gin/digits.gin", "'gin/digitz.gin'"),
        (["--gin_file=GIVEN/bytes.gin"], "cannot be read as text", "bytes.gin"),
        (["--gin_file=GIVEN/syntax.gin"], "value", "syntax.gin"),
        (["--gin_file=GIVEN/loop.gin"], "includes itself", "loop.gin"),
        (["--gin_file=GIVEN"], "gin file", "GIVEN"),
        (["--gin_fil=gin/digits.gin"], "Did you mean: gin_file", "'gin_fil'"),
        ([DIGITS, "--seed=-1"], "non-negative", "-1"),
        ([DIGITS, "--seed=1.5"], "int", "1.5"),
        ([DIGITS, "--seed=99999999999"], "seed must be at most 2147483647", "99999999999"),
        ([DIGITS, "--resume=maybe"], "boolean", "maybe"),
        ([DIGITS, "stray"], "expected only flags", "'stray'; try --gin_file=stray"),
        ([DIGITS, "--jit_compile=maybe"], "auto", "maybe"),
        ([DIGITS, "--steps_per_execution=many"], "a whole number or auto", "'many'"),
        ([DIGITS, "--steps_per_execution=0"], "at least 1", "0"),
        ([DIGITS, "--precision=float8"], "float32", "float8"),
        ([DIGITS, "--strategy=mirorred"], "mirrored", "mirorred"),
        ([*bound(), "--workdir=GIVEN/notes.txt/run"], "Not a directory", "notes.txt/run"),
        ([*bound(), "--workdir=/proc/run"], "cannot be made", "/proc/run"),
        ([*bound(), "--workdir=GIVEN/notes.txt"], "expected a directory", "notes.txt"),
        (bound("dcgan.chanels = 3"), "nearest: channels", "'chanels'"),
        (bound("dcgn.channels = 3"), "nearest: dcgan", "'dcgn'"),
        (bound("dcgan.channels = 'a'"), "channels must be a whole number", "'a'"),
        (bound("dcgan.channels = [1]"), "channels must be a whole number", "[1]"),
        (bound("dcgan.channels = @dcgan"), "channels must be a whole number", "function"),
        (bound("dcgan.n_z = 1000000000"), "GiB of memory", "n_z = 1000000000"),
        (bound("Adam.learning_rat = 1.0"), "nearest: learning_rate", "'learning_rat'"),
        (bound("Adam.learning_rate = 'fast'"), "learning_rate` should be float", "learning_rate=fast"),
        (bound("Adam.learning_rate = -1.0"), "learning_rate must be at least 0", "-1.0"),
        (bound("Adam.learning_rate = True"), "learning_rate` should be float", "learning_rate=True"),
        (bound("Adam.learning_rate = None"), "learning_rate` should be float", "learning_rate=None"),
        (bound("Adam.learning_rate = 1e999"), "learning_rate must be a finite number", "inf"),
        (bound("Adam.beta_1 = @Adam()"), "refers to itself", "a loop"),
        (bound("train_and_evaluate.steps = @train_and_evaluate()"), "refers to itself", "a loop"),
        (bound("Adam.beta_1 = 1.5"), "beta_1 must be less than 1", "1.5"),
        (bound("Adam.beta_2 = 'x'"), "beta_2 must be a finite number", "'x'"),
        (bound("Adam.epsilon = -1"), "epsilon must be at least 0", "-1"),
        (bound("JacobianClamping.lambda_max = 0.5"), "must not exceed", "1.0 > 0.5"),
        (bound("JacobianClamping.epsilon = 0"), "epsilon must be greater than 0", "0"),
        (bound("GAN.loss = 'hing'"), "nearest: hinge", "'hing'"),
        (bound("GAN.d_steps = 1000000000"), "a batch takes", "1797"),
        (bound("GAN.generator_batch = 1000000000"), "GiB of memory", "1000000000"),
        (bound("GAN.prior = 'uniform'"), "cannot be bound in gin files", "prior"),
        (steps("0"), "steps must be at least 1", "0"),
        (steps("1e30"), "steps must be a whole number", "1e+30"),
        (steps("10000000000000"), "steps must be at most 2147483647", "10000000000000"),
        (steps("'many'"), "steps must be a whole number", "'many'"),
        (steps("True"), "steps must be a whole number", "True"),
        (steps("None"), "steps must be a whole number", "None"),
        (steps("%N"), "%N needs a value bound to N", "none"),
        (steps("many"), "a string needs quotes ('many')", "many"),
        (bound("train_and_evaluate.eval_every = -5"), "eval_every must be at least 1", "-5"),
        (bound("train_and_evaluate.batch_size = 1000000000000"), "a batch takes 1000000000000", "1797"),
        (bound("train_and_evaluate.eval_latents = 1000000000000"), "GiB of memory", "1000000000000"),
        (bound("train_and_evaluate.score_samples = 1000000000000"), "GiB of memory", "1000000000000"),
        (bound("train_and_evaluate.chunk = 0"), "chunk must be at least 1", "0"),
        (bound("train_and_evaluate.seed = 3"), "a flag", "seed"),
        (bound("train_and_evaluate.scores = [@MissingModes]"), "pairs", "MissingModes"),
        (bound("train_and_evaluate.scores = 5"), "pairs", "5"),
        (bound("train_and_evaluate.dataset = 'digits'"), "must be callable", "str"),
        (bound("train_and_evaluate.dataset = None"), "must be callable", "NoneType"),
        (bound("train_and_evaluate.model = @dcgan"), "unexpected keyword argument", "prior"),
        (bound("train_and_evaluate.model = @VAE"), "[mean, log-variance]", "(2, 1)"),
        (bound("train_and_evaluate.architecture = @dcgan()"), "image_shape", "dcgan"),
        (bound("train_and_evaluate.critic_optimizer = @R1"), "must make Optimizer", "R1"),
        (bound("train_and_evaluate.model = @DampedGAN", "DampedGAN.weight = 'w'"), "weight must be a finite", "'w'"),
        (bound("dataset.name = 'minst'"), "nearest: mnist", "'minst'"),
        (bound("dataset.name = 3"), "valid: cifar10", "3"),
        (bound("dataset.split = 5"), "no option 'split'", "5"),
        (bound("dataset.size = 1000000"), "GiB of memory", "1000000"),
        (bound("steps = 500"), "nearest: train_and_evaluate.steps", "'steps'"),
        (bound("dcgan.channels ="), "Unable to parse value", "(line 5)"),
        (bound("dcgan.channels = (3"), "EOF in multi-line statement", "(6, 0)"),
        (bound("include 'nothing.gin'"), "Unable to open file: nothing.gin", "include 'nothing.gin'"),
        (bound("import nosuchmodule"), "No module named 'nosuchmodule'", "import nosuchmodule"),
    ],
    "evaluate": [
        ([], "--workdir (a run directory) or --model", "--images"),
        (["--workdir=a", "--model=b"], "give one of them", "--model"),
        (["--workdir=nowhere"], "run directory nowhere does not exist", "nowhere"),
        (["--workdir=."], "has no config.gin", "."),
        (["--model=GIVEN/good.keras"], "--gin_file", "the dataset is not named"),
        (["--model=nothing", DIGITS], "does not exist", "nothing"),
        (["--model=GIVEN/good.keras", DIGITS, "--samples=5"], "at least 6 samples", "found 5"),
        (["--model=GIVEN/good.keras", DIGITS, "--samples=1"], "integer >= 2", "1"),
        (["--model=GIVEN/good.keras", DIGITS, "--output=."], "a file to add a line to", "the directory ."),
        (["--model=GIVEN/good.keras", DIGITS], "[28, 28, 1]", "[2, 2, 1]"),
        (["--model=GIVEN/good.keras", DIGITS, "--inception=nowhere"], "the directory of a module", "'nowhere'"),
        (["--train_classifier", "--gin_file=gaussian_ring"], "a classifier takes images", "[2]"),
        (["--train_classifier", "--gin_bindings=dataset.name = 'digit'"], "nearest: digits", "'digit'"),
        (["--model=GIVEN/good.keras", "--gin_file=digit"], "nearest: gin/digits.gin", "'digit'"),
        (["--model=GIVEN/nan.keras", "--gin_file=gaussian_ring"], "must be finite", "2 of 2"),
    ],
    "analyze": [
        ([], "--model is needed", "--model"),
        (["--model=GIVEN/good.keras", "extra"], "expected only flags", "'extra'; try --model=extra"),
        (["--model=nowhere.keras"], "does not exist", "nowhere.keras"),
        (["--model=GIVEN/good.kera"], "nearest: good.keras", "good.kera"),
        (["--model=GIVEN/cut.keras"], "cannot be loaded", "cut.keras"),
        (["--model=GIVEN/lambda.keras"], "--trust", "Lambda"),
        (["--model=GIVEN/lambda.h5"], "--trust", "Lambda"),
        (["--model=GIVEN/notes.txt"], "expected a SavedModel directory", "a file of another kind"),
        (["--model=GIVEN"], "expected a SavedModel directory", "a directory without these"),
        (["--model=GIVEN/text.h5"], "cannot be loaded", "text.h5"),
        (["--model=GIVEN/good.keras", "--samples=0"], "positive", "0"),
        (["--model=GIVEN/good.keras", "--samples=1000000000000"], "GiB of memory", "1000000000000"),
        (["--model=GIVEN/good.keras", "--seed=99999999999"], "at most 2147483647", "99999999999"),
        (["--model=GIVEN/good.keras", "--prior=gaussian"], "<normal|uniform|truncated_normal>", "gaussian"),
        (["--model=GIVEN/good.keras", "--latent_shape=5,x"], "whole numbers such as 4,4,8", "'5,x'"),
        (["--model=GIVEN/good.keras", "--latent_shape=5"], "latents of shape [4]", "latent_shape [5]"),
        (["--model=GIVEN/good.keras", "--num_classes=3"], "takes no labels", "asked for"),
        (["--model=GIVEN/good.keras", "--step=3"], "run directories", "good.keras"),
        (["--model=GIVEN/good.keras", "--output=GIVEN/notes.txt"], "a directory to write", "notes.txt"),
        (["--model=GIVEN/good.keras", "--output=GIVEN/notes.txt/a"], "cannot be made", "Not a directory"),
        (["--model=GIVEN/good.keras", "--probes=3"], "is for --partial", "--probes"),
        (["--model=GIVEN/good.keras", "--partial", "--probes=1"], "integer >= 2", "1"),
        (["--model=GIVEN/good.keras", "--partial", "--chunk=3"], "is for full spectra", "--chunk"),
        (["--model=GIVEN/good.keras", "--partial", "--probes=1000000000000"], "GiB of memory", "1000000000000"),
    ],
    "study.run": [
        ([], "--gin_file is needed", "--gin_file"),
        (["--gin_file=quick", "extra"], "expected only flags", "'extra'"),
        (["--gin_file=quik"], "nearest: gin/studies/quick.gin", "'quik'"),
        (["--gin_file=xyz"], "valid: gin/studies/causes_cifar10.gin", "'xyz'"),
        (["--gin_file=quick", "--jobs=0"], "positive", "0"),
        (study("seeds = 0"), "seeds must be at least 1", "0"),
        (study("seeds = 1000000000000"), "seeds must be at most", "1000000000000"),
        (study("seeds = [1, 1]"), "different numbers", "[1, 1]"),
        (study("seeds = [-1]"), "at least 0", "-1"),
        (study("seeds = 'two'"), "a whole number", "'two'"),
        (study("seeds = None"), "a whole number", "None"),
        (study("arms = {}"), "{name: [gin files and bindings]}", "{}"),
        (study("arms = ['a.gin']"), "{name: [gin files and bindings]}", "['a.gin']"),
        (study("arms = {'a': []}"), "a list of gin files and bindings", "[]"),
        (study("arms = {'a': ['x = 1']}"), "a list of gin files and bindings", "['x = 1']"),
        (study("arms = {'a': ['digitz.gin']}"), "nearest: gin/digits.gin", "'digitz.gin'"),
        (study("arms = {3: ['digits.gin']}"), "letters, digits", "3"),
        (study("arms = {'../a': ['digits.gin']}"), "letters, digits", "'../a'"),
        (study("bindings = 'x = 1'"), "a list of strings", "'x = 1'"),
        (study("seed = 3"), "unknown parameter of study 'seed'; nearest: seeds", "study"),
        (["--gin_file=quick", "--gin_bindings=studdy.seeds = 3"], "nearest: study", "'studdy'"),
        (study("seeds = (3"), "EOF in multi-line statement", "quick"),
        (study("seeds = @study()"), "refers to itself", "a loop"),
        (["--gin_file=quick", "--workdir=GIVEN/notes.txt/s"], "Not a directory", "notes.txt"),
    ],
    "study.report": [
        ([], "--workdir is needed", "--workdir"),
        (["--workdir=nowhere"], "no study.json", "nowhere"),
        (["--workdir=GIVEN/study"], "is damaged", "study.json"),
        (["--workdir=GIVEN/escape"], "letters, digits", "'..'"),
    ],
    "dynamics": [
        ([], "--gin_file is needed", "--all"),
        (["--all", "--gin_file=gin/dynamics/noise.gin"], "either --gin_file", "--all"),
        (["--all", "extra"], "expected only flags", "'extra'"),
        (["--gin_file=dynamics/noise", "--gin_bindings=Portrait.field = 3"], "field must be a field such as", "3"),
        (["--gin_file=gin/dynamics/nois.gin"], "nearest: gin/dynamics/noise.gin", "nois.gin"),
        (["--gin_file=noise", "--gin_bindings=Portrait.cells = 0"], "cells must be at least 2", "0"),
        (["--gin_file=dynamics/noise", "--gin_bindings=Portrait.cells = 1"], "cells must be at least 2", "1"),
        (["--gin_file=dynamics/noise", "--gin_bindings=Portrait.cells = 10000000"], "GiB of memory", "10000000"),
        (["--gin_file=dynamics/noise", "--gin_bindings=Portrait.time = 'long'"], "time must be a finite", "'long'"),
        (["--gin_file=dynamics/noise", "--gin_bindings=Averaged.sigma = -1"], "sigma must be at least 0", "-1"),
    ],
}


def small(*more):
    z = keras.Input([4], name="z")
    x = keras.layers.Dense(4, activation="tanh")(z)
    for layer in more:
        x = layer(x)
    return keras.Model(z, keras.layers.Reshape([2, 2, 1])(x))


def given(folder):
    """Files that are wrong, each in its way, and a good model."""
    small().save(folder / "good.keras")
    points = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    points.set_weights([np.full([4, 2], np.nan), np.zeros(2)])
    points.save(folder / "nan.keras")
    for name in ("lambda.keras", "lambda.h5"):
        small(keras.layers.Lambda(lambda x: 2.0 * x)).save(folder / name)
    (folder / "cut.keras").write_bytes((folder / "good.keras").read_bytes()[:300])
    for name in ("notes.txt", "text.h5"):
        (folder / name).write_text("no model")
    (folder / "bytes.gin").write_bytes(b"\xff\xfe\x00\x01")
    (folder / "syntax.gin").write_text("dcgan.channels = = 3\n")
    (folder / "loop.gin").write_text("include 'loop.gin'\n")
    for name, text in {"study": '{"arms": 3}', "escape": json.dumps({"arms": {"..": ["x.gin"]}, "seeds": [0]})}.items():
        (folder / name).mkdir()
        (folder / name / "study.json").write_text(text)


@functools.cache
def answers(command):
    """([status, output] of every case of a command, what it left behind), from one process."""
    with tempfile.TemporaryDirectory() as path:
        here, files = pathlib.Path(path) / "here", pathlib.Path(path) / "given"
        here.mkdir(), files.mkdir()
        given(files)
        asked = [[part.replace("GIVEN", str(files)) for part in case[0]] for case in CASES[command]]
        program = [sys.executable, ROOT / "tests/command_cases.py", command, json.dumps(asked)]
        done = forks.run(program, cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1]), [entry.name for entry in here.rglob("*")]


@pytest.mark.parametrize(
    "command, place", [(command, place) for command, cases in CASES.items() for place in range(len(cases))]
)
def test_it_ends_with_status_2_and_one_message(command, place):
    arguments, expected, found = CASES[command][place]
    status, printed = answers(command)[0][place]
    message = printed[printed.find(f"tfjc.{command}:") :]
    assert status == 2, (arguments, status, printed[-2000:])
    assert message.count(f"tfjc.{command}:") == 1 and "Traceback" not in printed, printed[-2000:]
    assert "In call to" not in message and " at 0x" not in message, message
    assert expected in message and found.replace("GIVEN", "given") in message, (arguments, message)
    assert len(message) < 1500, message


@pytest.mark.parametrize("command", CASES)
def test_nothing_is_written(command):
    assert answers(command)[1] == []


@pytest.mark.parametrize("command", ["train", "study.run", "dynamics"])
def test_a_command_is_a_program_of_its_own(command):
    """A Python of its own, not a fork; without TensorFlow, which a mistake in the flags does not wait for."""
    done = subprocess.run([sys.executable, "-m", f"tfjc.{command}"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tfjc.{command}: ") and "--gin_file is needed" in done.stderr


# A mistake in these flags shows without the gin files' contents, the model and the data.
EARLY = {
    "train": [
        ([DIGITS, "--steps_per_execution=many"], "--steps_per_execution must be a whole number or auto, found 'many'"),
        ([DIGITS, "--steps_per_execution=-1"], "--steps_per_execution must be a whole number or auto, found '-1'"),
        ([DIGITS, "--steps_per_execution=0"], "--steps_per_execution must be at least 1, found 0"),
        ([DIGITS, "--seed=2147483648"], "--seed must be at most 2147483647, found 2147483648"),
        ([DIGITS, "--tpu=local"], "--tpu is for --strategy=tpu, found --strategy=default"),
        ([DIGITS, "--workdir=."], "holds no run, but other files (a.keras, notes.txt); choose another --workdir"),
        ([DIGITS, "--workdir=notes.txt"], "expected a directory, found the file notes.txt; choose another --workdir"),
    ],
    "evaluate": [
        (["--images=.", "--output_range=0"], "two numbers, the lower first, such as 0,1 or -1,1, found '0'"),
        (["--images=.", "--output_range=1,-1"], "two numbers, the lower first, such as 0,1 or -1,1, found '1,-1'"),
        (["--images=.", "--output_range=0,inf"], "two numbers, the lower first, such as 0,1 or -1,1, found '0,inf'"),
        (["--images=.", "--output=."], "--output must be a file to add a line to, found the directory ."),
        (["--model=a.keras", "--labels_at=3"], "--labels_at must be START:STOP"),
    ],
    "analyze": [
        (["--model=a.keras", "--seed=2147483648"], "--seed must be at most 2147483647, found 2147483648"),
        (["--model=a.keras", "--latent_shape=4,0"], "--latent_shape must be whole numbers such as 4,4,8, found '4,0'"),
        (["--model=a.keras", "--labels_at=a:b"], "--labels_at must be START:STOP"),
        (["--model=a.keras", "--set=truncation"], "--set must be NAME=VALUE"),
        (["--model=a.keras", "--output=notes.txt"], "--output must be a directory to write, found the file notes.txt"),
    ],
    "study.run": [
        (["--gin_file=quick", "--precision=float8"], "<float32|mixed_bfloat16|mixed_float16>"),
        (["--gin_file=quick", "--jit_compile=maybe"], "<auto|on|off>"),
    ],
    "dynamics.__main__": [(["--gin_file=dynamics/nois"], "nearest: gin/dynamics/noise.gin")],
}
WITHOUT_TENSORFLOW = """
import importlib, json, sys
from absl import flags
import command_cases
sys.modules |= {"tensorflow": None, "keras": None}
answers, of_absl = {}, set(flags.FLAGS)
for command, cases in json.loads(sys.argv[1]).items():
    module = importlib.import_module(f"tfjc.{command}")
    answers[command] = [command_cases.called(command, module, arguments, 30) for arguments, _ in cases]
    for flag in set(flags.FLAGS) - of_absl:  # several commands define the same
        delattr(flags.FLAGS, flag)
print("\\n" + json.dumps(answers))
"""


def test_a_wrong_value_of_a_flag_does_not_wait_for_tensorflow(tmp_path):
    """TensorFlow, whose import takes seconds, cannot be imported here."""
    for name in ("a.keras", "notes.txt"):
        (tmp_path / name).touch()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, json.dumps(EARLY)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    for name, cases in EARLY.items():
        for (arguments, message), (status, printed) in zip(cases, answers[name], strict=True):
            assert status == 2 and message in printed, (name, arguments, status, printed)
