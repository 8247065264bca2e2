"""Planned claims on records with known numbers: which effect is found, and what Holm's method and missing values do."""

import json
import math

import fabricated
import numpy as np
import pytest
import scipy.stats

from tfjc.study import _figures, _numbers, _planned, _read, _tested, statistics

INF = np.inf
SEEDS = np.random.default_rng(7).standard_normal(12)  # what a seed does to all its runs
LEVELS = {"floor": ["none", "1"], "kappa": ["none", "8"]}


def arms(n=8, **cells):
    """Runs of `cells` {arm: (log-condition, score)}, each with the effect of its seed and a little noise of its own."""
    rng = np.random.default_rng(1)
    return {
        arm: [
            (
                condition + SEEDS[k] + 0.1 * rng.standard_normal(),
                score + SEEDS[k] + 0.1 * rng.standard_normal(),
                9.0,
                20,
            )
            for k in range(n)
        ]
        for arm, (condition, score) in cells.items()
    }


def decide(path, cells, claims, change=lambda run: None):
    directory = fabricated.study(path, cells, claims=claims)
    study = directory.read()
    for run in directory.list_runs(study):
        change(run)
    numbers = _numbers.Numbers(_read.read(directory, study), list(study.arms), np.random.default_rng(0))
    return _tested.decide(study.claims, numbers, list(study.arms))


def claim(text, expected="greater", outcome="classifier_score", **kind):
    return {"claim": text, "outcome": outcome, "expected": expected, **kind}


def test_a_difference_is_paired_by_seed(tmp_path):
    """Seeds spread by 1 hide a difference of 0.4 from Welch's test of 8 runs, not from the paired one."""
    cells = arms(plain=(10.0, 5.0), other=(10.0, 5.4))
    claims = [
        claim("it rises", difference=["other", "plain"]),
        claim("it falls", "less", difference=["other", "plain"]),
        claim("conditioning falls", "less", "mean_log_condition", difference=["other", "plain"]),
    ]
    rises, falls, conditioning = decide(tmp_path, cells, claims)
    plain, other = (np.array([run[1] for run in cells[arm]]) for arm in ("plain", "other"))
    paired = scipy.stats.ttest_rel(other, plain)
    assert (rises.verdict, falls.verdict, conditioning.verdict) == ("supported", "contradicted", "not supported")
    assert rises.p_value == pytest.approx(paired.pvalue) and rises.adjusted == pytest.approx(3 * paired.pvalue)
    assert (rises.seeds, rises.power) == (8, "")
    assert rises.estimate == pytest.approx(np.mean(other - plain))
    assert scipy.stats.ttest_ind(other, plain, equal_var=False).pvalue > 0.3
    assert conditioning.found.endswith(f"; 8 seeds {conditioning.power}")
    smallest = float(conditioning.power.split()[5])  # could show a difference of X with 80 %
    deviation = np.std([b[0] - a[0] for a, b in zip(cells["plain"], cells["other"], strict=True)], ddof=1)
    power = scipy.stats.nct(7, smallest / deviation * math.sqrt(8)).sf(scipy.stats.t.isf(0.05 / 3 / 2, 7))
    assert power == pytest.approx(0.8, abs=0.05)  # to two digits


def test_effects_of_two_factors(tmp_path):
    """The floor raises the score by 1 and κ by nothing; both together by 0.6 more. A third factor is held."""
    cells = {"floor=none,kappa=none": (16, 2.0), "floor=none,kappa=8": (8, 2.0)}
    cells |= {"floor=1,kappa=none": (19, 3.0), "floor=1,kappa=8": (11, 3.6), "clamped": (19, 3.0)}
    claims = [claim(effect, factors=LEVELS, effect=effect) for effect in ("floor", "kappa", "interaction")]
    floor, kappa, interaction = decide(tmp_path, arms(**cells), claims)
    assert [one.estimate for one in (floor, kappa, interaction)] == pytest.approx([1.3, 0.3, 0.6], abs=0.15)
    assert [one.verdict for one in (floor, kappa, interaction)] == ["supported"] * 3
    assert floor.contrast == "effect of floor: floor none and 1, kappa none and 8"


def test_infinite_log_condition_numbers_are_ranked(tmp_path):
    """All eight runs of an arm are infinite, those of the other are not: the sign test has p = 2/2⁸."""
    cells = arms(plain=(10.0, 5.0), other=(12.0, 5.0))
    cells["other"] = [(INF, *run[1:]) for run in cells["other"]]
    (found,) = decide(
        tmp_path, cells, [claim("conditioning rises", "greater", "mean_log_condition", difference=["other", "plain"])]
    )
    assert (found.verdict, found.estimate, found.p_value) == ("supported", INF, pytest.approx(2 / 256))
    assert "median difference +inf [inf, inf], 8 seeds, 8 of them infinite" in found.found


def test_doses_within_arms_and_within_seeds(tmp_path):
    """Over arms the score falls with ln κ in every seed; within an arm it rises, since both follow the seed."""
    cells = arms(12, **{name: (8.0 + 4 * k, 9.0 - 3 * k) for k, name in enumerate("abcde")})
    doses = {"dose": "mean_log_condition", "within": "seeds"}
    claims = [
        claim("it falls with the dose", "less", **doses),
        claim("it rises within arms", "greater", **{**doses, "within": "arms"}),
        claim("given the quotient, nothing", "greater", **{**doses, "within": "arms"}, given="quotient_0.5"),
        claim("few arms", "less", **doses, arms=["a", "b"]),
    ]
    over, within, partial, few = decide(tmp_path, cells, claims)
    assert (over.verdict, over.estimate) == ("supported", -1.0)
    assert (within.verdict, within.estimate > 0.8) == ("supported", True)
    assert partial.verdict == "not tested" and "the order is that of what is given" in partial.found  # Q is the score's
    assert (few.verdict, few.found) == ("not tested", "a correlation needs at least 3 pairs, found 2")
    assert [over.adjusted, within.adjusted] == statistics.holm([over.p_value, within.p_value, math.nan, math.nan])[:2]


def test_five_equal_arms_show_no_more_than_one(tmp_path):
    """Arms that are bit-equal, as a floor and a clamp can be: the power and the interval are those of one arm."""
    cells = arms(8, a=(10.0, 5.0))
    rng = np.random.default_rng(3)
    cells["a"] = [(rng.standard_normal(), *run[1:]) for run in cells["a"]]
    doses = {"dose": "mean_log_condition", "within": "arms"}
    (one,) = decide(tmp_path / "one", cells, [claim("c", **doses)])
    (five,) = decide(tmp_path / "five", {arm: cells["a"] for arm in "abcde"}, [claim("c", **doses)])
    assert (five.low, five.high, five.p_value, five.power) == (
        pytest.approx(one.low),
        pytest.approx(one.high),
        pytest.approx(one.p_value),
        one.power,
    )


def test_a_number_at_a_step(tmp_path):
    """At step 0 the scores are a tenth of those at the end. A step without a record is a missing value."""
    cells = arms(plain=(10.0, 5.0), other=(10.0, 7.0))
    claims = [
        claim(at or "end", outcome=f"classifier_score{at}", difference=["other", "plain"]) for at in ("", "@0", "@7")
    ]
    end, start, missing = decide(tmp_path, cells, claims)
    assert (end.estimate, start.estimate) == (pytest.approx(10 * start.estimate), pytest.approx(0.2, abs=0.02))
    assert (missing.verdict, missing.found) == ("not tested", "8 of 8 runs have no classifier_score@7 (other)")


def test_a_missing_value_leaves_its_claim_untested_and_counts_in_the_family(tmp_path):
    """A run without an outcome takes its seed out; a run that diverged without a score is no reason to leave it out."""

    def change(run):
        if (run.arm, run.seed) == ("other", 2):
            run.directory.update_run(status="interrupted")
        if (run.arm, run.seed) == ("third", 1):
            run.directory.metrics.unlink()
            run.directory.update_run(status="diverged")

    cells = arms(plain=(10.0, 5.0), other=(10.0, 7.0), third=(10.0, 7.0))
    claims = [claim(arm, difference=[arm, "plain"]) for arm in ("other", "third")]
    claims.append(claim("precision", outcome="precison", difference=["other", "plain"]))
    other, third, unknown = decide(tmp_path, cells, claims, change)
    assert (other.verdict, other.seeds, other.adjusted) == ("supported", 7, pytest.approx(3 * other.p_value))
    assert (third.verdict, third.found) == ("not tested", "1 of 8 runs have no classifier_score (third)")
    assert (unknown.verdict, "unknown recorded number 'precison'" in unknown.found) == ("not tested", True)
    assert math.isnan(unknown.adjusted)


def test_arms_that_are_equal_in_every_run(tmp_path):
    """A floor and a clamp that never act give the same bits."""
    cells = arms(plain=(10.0, 5.0))
    (found,) = decide(tmp_path, {"a": cells["plain"], "b": cells["plain"]}, [claim("c", difference=["a", "b"])])
    assert (found.verdict, found.estimate, found.p_value) == ("not supported", 0.0, 1.0)
    assert found.found.endswith("8 seeds do not differ at all")


def test_what_signs_could_show(tmp_path):
    """Eight of nine signs decide at 5 %: θ⁹ + 9·θ⁸(1 − θ) = 0.8 for θ = 0.907. At 5 %/20, not even nine of nine do."""
    cells = arms(9, plain=(10.0, 5.0), other=(10.0, 5.0))
    cells["other"][0] = (INF, *cells["other"][0][1:])
    kind = {"outcome": "mean_log_condition", "difference": ["other", "plain"]}
    (alone,) = decide(tmp_path / "alone", cells, [claim("c", **kind)])
    assert alone.power == "could show a difference that 91% of seeds have with 80 %"
    family = decide(tmp_path / "family", cells, [claim(str(k), **kind) for k in range(20)])
    assert {one.power for one in family} == {"are too few to show any difference by their signs"}


def test_four_seeds_are_too_few(tmp_path):
    cells = arms(4, plain=(10.0, 5.0), other=(10.0, 7.0))
    (found,) = decide(tmp_path, cells, [claim("c", difference=["other", "plain"])])
    assert (found.verdict, found.found) == ("not tested", "4 seeds have an outcome in all arms; 5 are needed")


def test_no_claim_is_supported_in_a_family_of_null_effects():
    """Ten claims on arms that differ by noise alone, 200 studies of 8 seeds: some claim is decided in 5 % at most."""
    claims = [claim(str(k), difference=[f"arm{k}", "plain"]) for k in range(10)]
    names = ["plain", *(f"arm{k}" for k in range(10))]

    class Numbers:
        recorded = ("classifier_score",)

        def __init__(self, table):
            self.table = table

        def by_seed(self, arm, _):
            return dict(enumerate(self.table[names.index(arm)]))

    rng = np.random.default_rng(0)
    studies = rng.standard_normal([200, 11, 8]) + 2.0 * rng.standard_normal([200, 1, 8])
    decided = [any(one.adjusted <= 0.05 for one in _tested.decide(claims, Numbers(study), names)) for study in studies]
    assert sum(decided) <= scipy.stats.binom.ppf(1 - 1e-4, 200, 0.05)


def test_the_contrast_of_a_claim_in_words():
    doses = claim("c", dose="log_scale", within="seeds", given="rank")
    assert _planned.contrast(doses) == "correlation with log_scale, given rank, within seeds"
    assert _planned.contrast(claim("c", difference=["a", "b"])) == "a less b"


def test_the_main_figure_has_a_panel_for_every_number_that_was_recorded(tmp_path):
    cells = arms(plain=(INF, 5.0), other=(10.0, 7.0))
    directory = fabricated.study(tmp_path, cells)
    recorded = _read.read(directory, directory.read())
    claims = [claim("c"), claim("d", dose="mean_log_condition"), claim("e", outcome="precision"), claim("f")]
    figure = _figures.answer(recorded, list(cells), claims, [])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["classifier_score", "classifier_score by mean_log_condition"]
    means = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert means == pytest.approx([np.mean([run[1] for run in cells[arm]]) for arm in cells])
    assert _figures.answer(recorded, list(cells), [claim("e", outcome="precision")], []) is None
    default = _figures.answer(recorded, list(cells), [], ["mean_log_condition", "classifier_score", "fid"])
    assert len(default.axes) == 3


def test_the_claims_of_a_study_come_first_in_its_report(tmp_path, monkeypatch):
    from tfjc.study import _report

    monkeypatch.setattr(_report, "_draw", lambda *arguments: {"answer": (b"", "the main figure")})
    claims = [claim("The score rises", difference=["other", "plain"]), claim("It does <not>", "less", outcome="fid")]
    claims[1]["difference"] = ["other", "plain"]
    directory = fabricated.study(tmp_path, arms(plain=(10.0, 5.0), other=(10.0, 7.0)), claims=claims)
    found = _report.write(directory, np.random.default_rng(0))
    assert [one.claim for one in found[:2]] == ["The score rises", "It does <not>"] and len(found) > 2
    page = (tmp_path / "report.html").read_text()
    assert "<b class=supported>Supported:</b> The score rises (classifier_score: mean difference" in page
    assert "<b>Not tested:</b> It does &lt;not&gt; (unknown recorded number" in page
    places = ["What was found", "the main figure", "Claims of this study", "Claims of the paper", "What was run"]
    assert sorted(map(page.index, places)) == list(map(page.index, places))
    saved = json.loads((tmp_path / "results.json").read_text())["planned_claims"]
    assert (saved[0]["verdict"], saved[0]["seeds"]) == ("supported", 8)
