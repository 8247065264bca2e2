"""Gin files: all of ours run; mistakes are explained with the nearest valid names."""

import pathlib

import pytest
from runs import train

from tfjc import configurables
from tfjc.configurables import ConfigError

FILES = sorted(path.stem for path in configurables.directory().glob("*.gin"))


@pytest.mark.parametrize("name", FILES)
def test_every_gin_file_trains(name, tmp_path):
    """Two steps of it, on digits where its own data are not embedded."""
    embedded = name.startswith(("digits", "gaussian"))
    data = [] if embedded else ["dataset.name = 'digits'"]
    run = train(tmp_path / "run", "train_and_evaluate.steps = 2", *data, gin_file=name)
    assert [row["step"] for row in run.read_metrics()] == [0, 2]


@pytest.mark.parametrize("name", FILES)
def test_every_gin_file_opens_with_what_it_is(name):
    """Section, command, runtime and expected number, as the design asks."""
    header = (configurables.directory() / f"{name}.gin").read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    for part in (f"python -m tfjc.train --gin_file=gin/{name}.gin", "Takes", "Expected"):
        assert part in header, part


@pytest.mark.parametrize("name", [n for n in FILES if n.endswith("_jc")])
def test_a_clamped_experiment_differs_from_its_twin_by_the_clamp_alone(name):
    import gin

    configurables.parse([name.removesuffix("_jc")], [])
    plain = set(gin.config_str().splitlines())
    configurables.parse([name], [])
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
    assert configurables.find(name) == configurables.directory() / "digits_jc.gin"
    configurables.parse([name], [])  # which includes digits.gin


def test_a_users_file_may_include_ours_and_its_neighbours(tmp_path):
    import gin

    (tmp_path / "mine.gin").write_text("include 'digits_jc.gin'\ninclude 'other.gin'\n")
    (tmp_path / "other.gin").write_text("dcgan.n_z = 5\n")
    configurables.parse([str(tmp_path / "mine.gin")], ["dcgan.channels = 3"])
    assert gin.query_parameter("dcgan.n_z") == 5
    assert gin.query_parameter("dcgan.channels") == 3
    assert gin.query_parameter("dataset.name") == "digits"


def test_files_are_read_anew_each_time():
    import gin

    configurables.parse(["digits_jc"], [])
    configurables.parse(["digits"], [])
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
        (["digits"], ["dcgan.channels = "], "."),
        (["digits"], ["dcgan.channels"], "."),
        (["digits"], ["include 'nothing.gin'"], "nothing.gin"),
    ],
)
def test_mistakes_are_explained(files, bindings, message):
    with pytest.raises(ConfigError, match=message):
        configurables.parse(files, bindings)


def test_the_gin_files_are_installed_by_name():
    """setup.py maps gin/ to tfjc/gin_files, where `directory` looks outside of a checkout."""
    setup = (pathlib.Path(__file__).parent.parent / "setup.py").read_text()
    assert '"tfjc.gin_files": "gin"' in setup
