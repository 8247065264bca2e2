"""Gin files: all of ours run; mistakes are explained with the nearest valid names."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import forks
import pytest

from tfjc.runs import configuration
from tfjc.runs.configuration import ConfigError
from tfjc.study import _configuration
from tfjc.support import gin_files

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted(path.stem for path in gin_files.directory().glob("*.gin"))
DYNAMICS = sorted(f"dynamics/{path.stem}" for path in (gin_files.directory() / "dynamics").glob("*.gin"))


@pytest.mark.parametrize("name", DYNAMICS)
def test_every_file_of_dynamics_names_portraits(name):
    """Their drawing is tested in tests/dynamics."""
    configuration.parse([name], [])
    assert all(portrait.title for portrait in configuration.phase_portraits().panels)


def test_a_file_for_training_names_nothing_to_draw():
    configuration.parse(["digits"], [])
    with pytest.raises(ConfigError, match="no figure is named: --gin_file=gin/dynamics"):
        configuration.phase_portraits()


@pytest.mark.parametrize("name", FILES + DYNAMICS)
def test_every_gin_file_opens_with_what_it_is(name):
    """Section, command, runtime and expected number, as the design asks."""
    command = "dynamics" if name in DYNAMICS else "train"
    header = (gin_files.directory() / f"{name}.gin").read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"python -m tfjc.{command} --gin_file=gin/{name}.gin" in header
    assert re.search(r"^# Takes (about )?[\d.]+ (seconds|minutes|hours) ", header, re.MULTILINE)
    assert re.search(r"^# Expected \S.{20}", header, re.MULTILINE)


@pytest.mark.parametrize("name", [n for n in FILES if n.endswith("_jc")])
def test_a_clamped_experiment_differs_from_its_twin_by_the_clamp_alone(name):
    import gin

    configuration.parse([name.removesuffix("_jc")], [])
    plain = set(gin.config_str().splitlines())
    configuration.parse([name], [])
    added = {line for line in set(gin.config_str().splitlines()) - plain if line and not line.startswith("#")}
    assert added == {
        "GAN.generator_penalties = [@JacobianClamping()]",
        "JacobianClamping.epsilon = 1.0",
        "JacobianClamping.lambda_max = 20.0",
        "JacobianClamping.lambda_min = 1.0",
    }


@pytest.mark.parametrize("name", ["gin/digits_jc.gin", "digits_jc.gin", "digits_jc", "gin/digits_jc"])
def test_our_files_are_found_by_name_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gin_files.find(name) == gin_files.directory() / "digits_jc.gin"
    configuration.parse([name], [])  # which includes digits.gin


def test_a_users_file_may_include_ours_and_its_neighbours(tmp_path):
    import gin

    (tmp_path / "mine.gin").write_text("include 'digits_jc.gin'\ninclude 'other.gin'\n")
    (tmp_path / "other.gin").write_text("dcgan.n_z = 5\n")
    configuration.parse([str(tmp_path / "mine.gin")], ["dcgan.channels = 3"])
    assert gin.query_parameter("dcgan.n_z") == 5
    assert gin.query_parameter("dcgan.channels") == 3
    assert gin.query_parameter("dataset.name") == "digits"


def test_files_are_read_anew_each_time():
    import gin

    configuration.parse(["digits_jc"], [])
    configuration.parse(["digits"], [])
    with pytest.raises(ValueError):
        gin.query_parameter("JacobianClamping.lambda_min")


@pytest.mark.parametrize(
    "files, bindings, message",
    [
        (["gin/digit_jc.gin"], [], "unknown gin file 'gin/digit_jc.gin'; nearest: gin/digits_jc.gin"),
        (["digits"], ["dcgan.chanels = 3"], "unknown parameter of dcgan 'chanels'; nearest: channels"),
        (["digits"], ["dcgn.channels = 3"], "unknown configurable 'dcgn'; nearest: dcgan"),
        (["digits"], ["train_and_evaluate.architecture = @dcgn"], "unknown configurable 'dcgn'; nearest: dcgan"),
        (
            ["digits"],
            ["GAN.generator_penalty = []"],
            "unknown parameter of GAN 'generator_penalty'; nearest: generator_p",
        ),
        (["digits"], ["dcgan.channels = "], "Unable to parse value"),
        (["digits"], ["dcgan.channels = (3"], "EOF|never closed"),
        (["digits"], ["import nosuchmodule"], "nosuchmodule"),
        (["digits"], ["steps = 500"], "'steps' names no configurable's parameter; nearest: train_and_evaluate.steps"),
        (["digits"], ["lambda_max=5"], "nearest: JacobianClamping.lambda_max"),
        (["digits"], ["dataset.name = mnist"], r"mnist is no value: a string needs quotes \('mnist'\)"),
        (["digits"], ["train_and_evaluate.seed = 3"], "seed cannot be bound in gin files: a flag"),
        (["digits"], ["GAN.prior = 'uniform'"], "prior cannot be bound in gin files"),
        (["dynamics/noise"], ["Averaged.sigm = 1"], "unknown parameter of Averaged 'sigm'; nearest: sigma"),
        (["digits"], ["include 'nothing.gin'"], "nothing.gin"),
    ],
)
def test_mistakes_are_explained(files, bindings, message):
    with pytest.raises(ConfigError, match=message):
        configuration.parse(files, bindings)


def test_a_wrong_value_is_placed_by_the_name_of_what_it_configures():
    """With its scope; without gin's line, which ends in a function's address."""
    for place in ("dcgan.n_z", "Adam.learning_rate", "a/Adam.learning_rate"):
        scoped = ["train_and_evaluate.generator_optimizer = @a/Adam"] * ("/" in place)
        configuration.parse(["digits"], [f"{place} = -1", *scoped])
        with pytest.raises(ConfigError) as caught, configuration.explained():
            configuration.train_and_evaluate(workdir="nowhere")
        assert str(caught.value).splitlines()[1:] == [f"  in the configuration of '{place.partition('.')[0]}'"]


@pytest.mark.parametrize(
    "bindings, message",
    [
        (
            ["GAN.generator_penalties = [@ConditionNumber()]"],
            "ConditionNumber needs target: bind ConditionNumber.target",
        ),
        (["GAN.generator_penalties = [@a/OroJaR()]"], "a/OroJaR needs weight: bind a/OroJaR.weight"),
        (
            ["Adam.learning_rate = @PolynomialDecay()"],
            "PolynomialDecay needs decay_steps, initial_learning_rate: "
            "bind PolynomialDecay.decay_steps, PolynomialDecay.initial_learning_rate",
        ),
        (["train_and_evaluate.dataset = @b/dataset"], "b/dataset needs name: bind b/dataset.name"),
    ],
)
def test_what_must_be_bound_is_named(bindings, message):
    configuration.parse([] if "dataset" in message else ["digits"], bindings)
    with pytest.raises(ConfigError, match=message), configuration.explained():
        configuration.train_and_evaluate(workdir="nowhere")


def test_a_macro_that_is_used_is_fine():
    configuration.parse(["digits"], ["n = 5", "train_and_evaluate.steps = %n"])


def test_an_installed_package_finds_its_gin_files(tmp_path):
    """`pip install .` brings gin/ along as tfjc/gin_files, where `directory` looks outside of a checkout."""
    checkout = tmp_path / "checkout"
    for folder in ("tfjc", "gin"):
        shutil.copytree(ROOT / folder, checkout / folder)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*pip, str(checkout)], check=True, capture_output=True)
    (tmp_path / "elsewhere").mkdir()
    code = "from tfjc.runs import configuration; configuration.parse(['gin/mnist_small_jc.gin'], [])"
    code += "; from tfjc.support import gin_files; print(gin_files.find('digits'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = forks.run([sys.executable, "-c", code], cwd=tmp_path / "elsewhere", env=environment)
    assert done.stdout.strip() == str(tmp_path / "site" / "tfjc" / "gin_files" / "digits.gin"), done.stderr


def test_a_neighbour_comes_before_ours_of_the_same_name(tmp_path):
    """A copied pair: mine/digits_jc.gin includes mine/digits.gin. In a process of its own, as the command line is."""
    for name in ("digits.gin", "digits_jc.gin"):
        shutil.copy(gin_files.directory() / name, tmp_path)
    with open(tmp_path / "digits.gin", "a") as stream:
        stream.write("dcgan.channels = 7\n")
    code = f"from tfjc.runs import configuration as c; c.parse(['{tmp_path}/digits_jc.gin'], []); print(c.texts())"
    done = forks.run([sys.executable, "-c", code], cwd=ROOT)
    assert "dcgan.channels = 7" in done.stdout
    assert "Path not found" not in done.stderr


MACROS = """include 'digits.gin'
PENALTIES = [@PathLength(), @a/JacobianClamping()]
CHOSEN = %PENALTIES
GAN.generator_penalties = %CHOSEN
a/JacobianClamping.lambda_max = 3.0
GAN.class_weights = (1.0,
    2e-1)
GAN.ema_decay = None
ITSELF = %ITSELF
"""


def test_bindings_are_the_configuration_as_data(tmp_path):
    """Macros of macros are resolved, references are names, scopes stay, tuples are lists; all of it is JSON."""
    (tmp_path / "mine.gin").write_text(MACROS)
    configuration.parse([str(tmp_path / "mine.gin")], ["dcgan.channels = 16"])
    found = configuration.bindings()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    expected = {
        "GAN.generator_penalties": ["PathLength", "a/JacobianClamping"],
        "GAN.class_weights": [1.0, 0.2],
        "GAN.ema_decay": None,
        "GAN.loss": "non_saturating",
        "a/JacobianClamping.lambda_max": 3.0,
        "dcgan.channels": 16,
        "train_and_evaluate.model": "GAN",
        "train_and_evaluate.scores": [["ClassifierEvaluator", 1000]],
    }
    assert {name: found[name] for name in expected} == expected
    assert not {"PENALTIES", "CHOSEN", "ITSELF"} & {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("name", [name for name in FILES if f"{name}_jc" in FILES])
def test_clamped_files_differ_from_their_twins_by_the_clamp_alone(name):
    """As a study reads the bindings of both."""

    def read(name):
        configuration.parse([name], [])
        return _configuration.read({"bindings": configuration.bindings()})

    plain, clamped = read(name), read(f"{name}_jc")
    assert (plain.is_clamped, clamped.is_clamped) == (False, True)
    assert clamped.without_clamp() == plain
    if name.endswith("_1step"):
        several = read(name.removesuffix("_1step"))
        assert (plain.critic_steps, several.critic_steps) == (1, 5)
        assert plain.without_critic_steps() == several.without_critic_steps()


def test_what_is_bound_to_the_default_model_holds(tmp_path):
    """Without `train_and_evaluate.model` the model is the configurable GAN, not the class without its bindings."""
    configuration.parse([], ["dataset.name = 'digits'", "GAN.loss = 'hing'"])
    with pytest.raises(ValueError, match="nearest: hinge"):
        configuration.train_and_evaluate(workdir=tmp_path / "run", dry_run=True)


@pytest.mark.parametrize(
    "bindings, idle",
    [
        (["JacobianClamping.lambda_max = 10.0"], "JacobianClamping"),
        (
            ["GAN.critic_penalties = [@R1()]", "R2.gamma = 1.0", "R1.gamma = 1.0", "VAE.likelihood = 'gaussian'"],
            "R2, VAE",
        ),
        (["GAN.generator_penalties = [@JacobianClamping()]", "JacobianClamping.lambda_max = 10.0"], None),
        (["MissingModes.batch_size = 100", "critic/Adam.beta_2 = 0.9"], None),
    ],
)
def test_bindings_that_nothing_uses_are_warned_of(bindings, idle, caplog, capsys):
    small = ["dcgan.channels = 2", "dcgan.n_z = 2", "dataset.size = 8", "train_and_evaluate.scores = []"]
    configuration.parse(["digits"], [*small, *bindings])
    configuration.train_and_evaluate(workdir="nowhere", dry_run=True)
    said = [record.getMessage() for record in caplog.records if "without effect" in record.getMessage()]
    expected = [f"bindings without effect: the configuration nowhere uses {idle}"] if idle else []
    assert said == expected
