"""What a study is, and its directory."""

import json
import sys

import pytest
from conftest import ROOT

from tfjc.study import _plan


def test_arms_times_seeds_in_the_order_that_compares_soonest(tmp_path):
    study = _plan.make(arms={"a": ["x.gin"], "b": ["x.gin", "GAN.d_steps = 2"]}, seeds=2, bindings=["dcgan.n_z = 3"])
    runs = _plan.StudyDirectory(tmp_path).list_runs(study)
    assert [run.name for run in runs] == ["a/0", "b/0", "a/1", "b/1"]
    assert runs[3].directory.path == tmp_path / "runs" / "b" / "seed_001"
    assert runs[3].log == tmp_path / "runs" / "b" / "seed_001.log"
    assert runs[0].status() == "waiting" and not runs[0].is_over()
    assert _plan.command(study, runs[3], ["--data_dir=D"]) == [
        *(sys.executable, "-m", "tfjc.train", f"--workdir={runs[3].directory.path}", "--seed=1", "--gin_file=x.gin"),
        *("--gin_bindings=GAN.d_steps = 2", "--gin_bindings=dcgan.n_z = 3", "--data_dir=D"),
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "gin" / "studies").glob("*.gin")), ids=lambda path: path.stem)
def test_our_studies_name_files_that_are_there(path):
    study = _plan.parse(path.stem)
    assert len(study.arms) > 1 and len(study.seeds) > 1
    for parts in study.arms.values():
        assert all((ROOT / "gin" / part).is_file() for part in parts if part.endswith(".gin"))
    header = path.read_text().split("\n\n")[0]
    assert f"python -m tfjc.study.run --gin_file=gin/studies/{path.name}" in header


def test_bindings_change_a_study():
    assert _plan.parse("gin/studies/quick.gin", ["study.seeds = [4, 7]"]).seeds == (4, 7)


def test_a_directory_holds_one_study_which_may_get_more_seeds(tmp_path):
    directory = _plan.StudyDirectory(tmp_path)
    arms = {"a": ["x.gin"]}
    assert directory.begin(_plan.make(arms=arms, seeds=2)).seeds == (0, 1)
    assert directory.begin(_plan.make(arms=arms, seeds=[1, 5])).seeds == (0, 1, 5)
    assert directory.read().seeds == (0, 1, 5)
    with pytest.raises(ValueError, match=r"holds another study; choose another --workdir\n  was .*x.*\n  now .*y"):
        directory.begin(_plan.make(arms={"a": ["y.gin"]}, seeds=2))
    directory.study.write_text(json.dumps({"arms": 3}))
    with pytest.raises(ValueError, match=r"study\.json is damaged"):
        directory.read()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"arms": {}, "seeds": 2}, r"study.arms must be \{name: \[gin files and bindings\]\}, found \{\}"),
        ({"arms": {"../a": ["x.gin"]}, "seeds": 2}, "an arm's name must be letters, .* found '../a'"),
        ({"arms": {"a": ["GAN.d_steps = 1"]}, "seeds": 2}, "arm 'a' must be a list of gin files and bindings"),
        ({"arms": {"a": "x.gin"}, "seeds": 2}, "arm 'a' must be a list"),
        ({"arms": {"a": ["x.gin"]}, "seeds": 0}, "study.seeds must be at least 1, found 0"),
        ({"arms": {"a": ["x.gin"]}, "seeds": [1, 1]}, r"study.seeds must be different numbers, found \[1, 1\]"),
        ({"arms": {"a": ["x.gin"]}, "seeds": [-1]}, "study.seeds must be at least 0"),
        ({"arms": {"a": ["x.gin"]}, "seeds": 1, "bindings": "x = 1"}, "study.bindings must be a list of strings"),
    ],
)
def test_mistakes_say_what_was_found(arguments, message):
    with pytest.raises(ValueError, match=message):
        _plan.make(**arguments)


def test_unknown_studies_and_parameters_are_named():
    with pytest.raises(ValueError, match=r"unknown study 'quik'; .*gin/studies/quick\.gin"):
        _plan.parse("quik")
    with pytest.raises(ValueError, match="seed"):
        _plan.parse("quick", ["study.seed = 3"])


def test_a_study_is_not_put_among_other_files(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no study, but other files \(run\.json\); choose another --workdir"):
        _plan.StudyDirectory(tmp_path).create()
    study = _plan.make(arms={"a": ["x.gin"]}, seeds=1)
    directory = _plan.StudyDirectory(tmp_path / "new").create()
    directory.begin(study)
    assert directory.create().read() == study
