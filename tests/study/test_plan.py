"""What a study is, and its directory."""

import json
import sys

import pytest
from conftest import ROOT

from tfjc.study import _plan, _planned


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


def test_a_wrong_value_is_placed_by_the_name_of_what_it_configures():
    """Not by gin's line, which ends in a function's address."""
    with pytest.raises(ValueError) as caught:
        _plan.parse("quick", ["study.seeds = 0"])
    assert str(caught.value) == "quick: study.seeds must be at least 1, found 0\n  in the configuration of 'study'"


def test_a_study_is_not_put_among_other_files(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no study, but other files \(run\.json\); choose another --workdir"):
        _plan.StudyDirectory(tmp_path).create()
    study = _plan.make(arms={"a": ["x.gin"]}, seeds=1)
    directory = _plan.StudyDirectory(tmp_path / "new").create()
    directory.begin(study)
    assert directory.create().read() == study


FACTORS = {
    "floor": {"none": [], "1": ["GAN.generator_penalties += [@PathLength()]", "PathLength.weight = 2.0"]},
    "kappa": {"none": [], "8": ["GAN.generator_penalties += [@OroJaR()]"]},
}


def test_factors_make_the_product_of_their_levels():
    """Lists grow from what the gin file binds: digits_jc.gin has the clamp. Named arms come last."""
    study = _plan.define(
        arms={"wide": ["dcgan.channels = 32"]}, factors=FACTORS, seeds=2, bindings=["digits_jc.gin", "dcgan.n_z = 8"]
    )
    clamp, path, oro = "@JacobianClamping()", "@PathLength()", "@OroJaR()"
    weight, grown = "PathLength.weight = 2.0", "GAN.generator_penalties = [{}]"
    assert study.arms == {
        "floor=none,kappa=none": [],
        "floor=none,kappa=8": [grown.format(f"{clamp}, {oro}")],
        "floor=1,kappa=none": [weight, grown.format(f"{clamp}, {path}")],
        "floor=1,kappa=8": [weight, grown.format(f"{clamp}, {path}, {oro}")],
        "wide": ["dcgan.channels = 32"],
    }


def test_an_arm_of_a_product_is_a_run_like_any_other(tmp_path):
    study = _plan.define(factors=FACTORS, seeds=1, bindings=["digits.gin", "train_and_evaluate.steps = 9"])
    directory = _plan.StudyDirectory(tmp_path)
    assert directory.begin(study) == study == directory.read()
    run = directory.list_runs(study)[3]
    assert run.directory.path == tmp_path / "runs" / "floor=1,kappa=8" / "seed_000"
    assert _plan.command(study, run, [])[5:] == [
        "--gin_file=digits.gin",
        "--gin_bindings=PathLength.weight = 2.0",
        "--gin_bindings=GAN.generator_penalties = [@PathLength(), @OroJaR()]",
        "--gin_bindings=train_and_evaluate.steps = 9",
    ]


@pytest.mark.parametrize(
    "one, other, name",
    [
        (["dcgan.n_z = 8"], ["dcgan.n_z = 16"], "dcgan.n_z"),
        (["GAN.d_steps = 1"], ["models.GAN.d_steps = 2"], "GAN.d_steps"),  # one configurable
        (["a/GAN.d_steps = 1"], ["GAN.loss = 'hinge'\na/GAN.d_steps = 2"], "a/GAN.d_steps"),  # two lines
        (["rate = 1"], ["rate = 2"], "rate"),  # a macro
        (["digits_jc.gin"], ["GAN.generator_penalties = [@PathLength()]"], "GAN.generator_penalties"),
        (["digits_jc.gin"], ["digits_path_length.gin"], "GAN.generator_penalties"),
    ],
)
def test_two_factors_do_not_bind_one_parameter(one, other, name):
    factors = {"a": {"none": [], "some": one}, "b": {"none": [], "more": other}}
    with pytest.raises(
        ValueError, match=rf"two factors bind {name}: a=some and b=more\. .* with {name} \+= \[\.\.\.\]"
    ):
        _plan.define(factors=factors, seeds=1, bindings=["digits.gin"])


def test_factors_may_bind_different_scopes_and_share_what_a_file_includes():
    """digits_jc.gin and digits_r1.gin both include digits.gin, which is the base."""
    factors = {
        "g": {"jc": ["digits_jc.gin", "a/Adam.beta_1 = 0.1"]},
        "d": {"r1": ["digits_r1.gin", "b/Adam.beta_1 = 0.2"]},
    }
    assert list(_plan.define(factors=factors, seeds=1, bindings=["digits.gin"]).arms) == ["g=jc,d=r1"]


def test_files_are_read_with_what_they_include(tmp_path):
    """A file includes one beside it, and that one of tfjc's own."""
    (tmp_path / "base.gin").write_text("include 'digits_jc.gin'\nmlp.width = 3\n")
    (tmp_path / "mine.gin").write_text("include 'base.gin'\n")
    arms = {"a": [str(tmp_path / "mine.gin"), "GAN.generator_penalties += [@PathLength()]"]}
    (parts,) = _plan.define(arms=arms, seeds=1).arms.values()
    assert parts[1] == "GAN.generator_penalties = [@JacobianClamping(), @PathLength()]"
    (tmp_path / "base.gin").write_text("include 'mine.gin'\n")
    with pytest.raises(ValueError, match=r"mine\.gin' cannot be read as gin: maximum recursion depth"):
        _plan.define(arms=arms, seeds=1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"factors": ["a"]}, r"study.factors must be {factor: {level: .*}}, found \['a'\]"),
        ({"arms": ["a"]}, r"study.arms must be {name: .*}, found \['a'\]"),
        ({"factors": {"a": {"b": []}}, "bindings": "digits.gin"}, "study.bindings must be a list of strings"),
        ({"factors": {"a": ["x"]}}, r"a factor must be \{level: \[gin files and bindings\]\}, found \['x'\] for 'a'"),
        ({"factors": {"a=b": {"c": []}}}, "a name must be letters, .*'a=b' in study.factors"),
        ({"factors": {"a": {"1,2": []}}}, "a name must be letters, .*'1,2' in study.factors"),
        ({"factors": {"a": {1: []}}}, "a name must be letters, .*found 1 in study.factors"),
        ({"factors": {"a": {"b": []}}, "bindings": []}, "arm 'a=b' must be a list of gin files and bindings"),
        (
            {"arms": {"a": ["dcgan.n_z = 4"]}, "bindings": ["digits.gin", "dcgan.n_z = 8"]},
            "arm 'a': it binds dcgan.n_z, which",
        ),
        (
            {"arms": {"a": ["dcgan.n_z += [4]"]}, "bindings": ["digits.gin", "dcgan.n_z = 8"]},
            "arm 'a': it binds dcgan.n_z",
        ),
        ({"arms": {"a": ["x.y += 3"]}}, r"expected one list after \+=, found 'x.y \+= 3'"),
        ({"arms": {"a": ["x.y += [3]\nx.z = 4"]}}, r"expected one list after \+="),
        ({"arms": {"a": ["x.y += [3]"]}, "bindings": ["digits.gin", "x.z += [4]"]}, "only an arm may add"),
        ({"arms": {"a": ["x.y = %m", "x.y += [3]"]}}, "cannot add to %m"),
        ({"arms": {"a": ["x.y = [1"]}}, r"'x.y = \[1' cannot be read as gin"),
        ({"arms": {"a=b": []}, "factors": {"a": {"b": []}}}, "study.arms and study.factors both make the arm 'a=b'"),
        ({"arms": {"a": ["x.y"]}}, "'x.y' cannot be read as gin: Couldn't parse statement"),
    ],
)
def test_mistakes_in_factors_and_bindings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        _plan.define(**{"seeds": 1, "bindings": ["digits.gin"], **arguments})


DIFFERENCE = {"claim": "c", "outcome": "fid@100", "expected": "less", "difference": ["a", "b"]}
CROSSED = {"claim": "c", "outcome": "fid", "expected": "less", "factors": {"f": ["0", "1"], "k": ["0", "1"]}}
DOSE = {"claim": "c", "outcome": "fid", "expected": "less", "dose": "log_scale", "within": "seeds"}


def test_planned_claims_are_part_of_a_study(tmp_path):
    claims = [DIFFERENCE, {**DOSE, "claim": "d", "given": "rank", "arms": ["a"]}]
    study = _plan.make(arms={"a": ["x.gin"], "b": ["x.gin"]}, seeds=2, claims=claims)
    assert _plan.StudyDirectory(tmp_path).begin(study) == study == _plan.StudyDirectory(tmp_path).read()
    assert "claims" not in _plan.make(arms={"a": ["x.gin"]}, seeds=2).as_dict()
    arms = {f"f={f},k={k}": ["x.gin"] for f in "012" for k in "01"}
    crossed = {**CROSSED, "factors": {"k": ["0", "1"], "f": ["2", "0"]}, "effect": "f"}
    _plan.make(arms=arms, seeds=2, claims=[crossed])
    assert _planned.compared_arms(crossed, list(arms)) == ["f=2,k=0", "f=2,k=1", "f=0,k=0", "f=0,k=1"]


@pytest.mark.parametrize(
    "claims, message",
    [
        ({"a": 1}, "study.claims must be a list of dicts"),
        (
            [{**DIFFERENCE, "expected": "more"}],
            "study.claims, 'c': unknown expected 'more'; nearest|unknown expected 'more'",
        ),
        ([{**DIFFERENCE, "difference": ["a", "c"]}], "unknown arm 'c'"),
        ([{**DIFFERENCE, "difference": ["a", "a"]}], "difference must be 2 different arms"),
        ([{**DIFFERENCE, "difference": "ab"}], "difference must be a list of arms"),
        ([{**DIFFERENCE, "effect": "f"}], "unknown key 'effect'"),
        ([{**DIFFERENCE, "dose": "rank"}], "expected one of difference, factors, dose, found difference, dose"),
        ([{**DIFFERENCE, "outcome": "fid@end"}], "outcome must be NAME or NAME@STEP, found 'fid@end'"),
        ([{**DIFFERENCE, "outcome": 3}], "outcome must be a string, found 3"),
        ([{"outcome": "fid", "expected": "less", "difference": ["a", "b"]}], "study.claims, None: it lacks claim"),
        ([CROSSED], "it lacks effect"),
        ([{**CROSSED, "effect": "f"}], "unknown arm 'f=0,k=0'"),
        ([{**CROSSED, "effect": "g"}], "unknown effect 'g'"),
        ([{**CROSSED, "effect": "f", "factors": {"f": ["0", "1"]}}], "two factors of two levels"),
        ([{**DOSE, "within": "runs"}], "unknown within 'runs'"),
        ([{**DOSE, "given": "fid"}], "must be different numbers, found fid, log_scale, fid"),
        ([DOSE, DOSE], "two claims have the same sentence"),
    ],
)
def test_mistakes_in_claims_are_named(claims, message):
    with pytest.raises(ValueError, match=message):
        _plan.make(arms={"a": ["x.gin"], "b": ["x.gin"]}, seeds=2, claims=claims)
