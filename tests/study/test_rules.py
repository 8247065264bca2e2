"""What studies decide on arms with known answers, and how often rules find something where nothing is."""

import fabricated
import numpy as np
import pytest
import scipy.special
import scipy.stats
import study_rules

from tfjc.study import _claims, _configuration, _read, _rules, statistics

LOWERS = "clamping lowers the log-condition number"
SCORE = "log-condition number correlates with classifier_score"
INF = np.inf


def claims(path, arms, change=lambda run: None):
    directory = fabricated.study(path, arms)
    study = directory.read()
    for run in directory.list_runs(study):
        change(run)
    return _claims.check(_read.read(directory, study), list(arms), np.random.default_rng(0))


def one(found, beginning):
    (claim,) = [claim for claim in found if claim.claim.startswith(beginning)]
    return claim


def test_rank_deficient_runs_are_the_worst_conditioned(tmp_path):
    """Six of ten runs are infinite and four at 12, against ten at 13: Fisher's one-sided p is C(14, 4)/C(20, 10)."""
    plain = [(INF, 2.0, 50.0, 1)] * 6 + [(12.0 + 0.01 * k, 6.5, 10.0, 20) for k in range(4)]
    clamped = [(13.0 + 0.01 * k, 6.5 + 0.01 * k, 10.0, 20) for k in range(10)]
    found = claims(tmp_path, {"plain": plain, "clamped": clamped})
    lowers, clusters = one(found, LOWERS), one(found, "runs fall into")
    assert lowers.verdict == "supported"
    assert "median inf → 13, P(higher) = 0.40" in lowers.found
    assert "infinite in 6 of 10 → 0 of 10 runs, Fisher's exact p = 0.011" in lowers.found
    assert 2 * scipy.special.comb(14, 4) / scipy.special.comb(20, 10) == pytest.approx(0.0108, abs=1e-4)
    assert (clusters.verdict, "6 of 10 runs are infinite" in clusters.found) == ("not tested", True)


def test_arms_are_correlated_within(tmp_path):
    """Spearman −1 within each of two arms with a shift between them; pooled over runs it would be +0.5."""
    plain = [(10.0 + k, 5.0 - 0.1 * k, 10.0, 20) for k in range(10)]
    clamped = [(30.0 + k, 9.0 - 0.1 * k, 10.0, 20) for k in range(10)]
    assert scipy.stats.spearmanr(*np.array(plain + clamped).T[:2])[0] == pytest.approx(0.5, abs=0.02)
    found = one(claims(tmp_path, {"plain": plain, "clamped": clamped}), SCORE)
    assert (found.verdict, "plain -1.00 (10 runs), clamped -1.00 (10 runs)" in found.found) == ("supported", True)


@pytest.mark.parametrize("name", ["median_log_condition", "mean_log_condition"])
def test_claims_go_by_the_median_where_every_run_has_it(tmp_path, name):
    """Every run has one deficient latent, and so an infinite mean; the medians are 20 and 10."""

    def add(run):
        if name == "mean_log_condition" and run.seed == 3:
            return
        row = run.directory.read_metrics()[-1]
        median = (20.0 if run.arm == "plain" else 10.0) + 0.1 * run.seed
        fabricated.record(run, {**row, "step": 50, "median_log_condition": median, "infinite_latents": 0.02})

    arms = {arm: [(INF, 5.0 + 0.1 * k, 10.0, 20) for k in range(6)] for arm in ("plain", "clamped")}
    found = one(claims(tmp_path, arms, add), LOWERS)
    assert found.found.startswith(name)
    assert found.verdict == ("supported" if name == "median_log_condition" else "not supported")


@pytest.mark.parametrize(
    "claim, least",
    [("clamping raises the mean", 5), (LOWERS, 5), ("clamping lowers the variance", 6), (SCORE, 5), ("runs fall", 6)],
)
def test_a_rule_is_asked_from_its_least_number_of_runs_on(tmp_path, claim, least):
    """A correlation within two arms of 5 has Σ (n − 3) = 4, more than one of 6 alone."""
    plain = [(20.0 + k + 9 * (k % 2), 2.0 + 0.3 * k, 50.0 + k, 1) for k in range(6)]
    clamped = [(8.0 + 0.1 * k, 8.0 - 0.01 * k**2, 5.0 + 0.1 * k, 30) for k in range(6)]
    for n in (least - 1, least):
        arms = {"plain": plain[:n], "clamped": clamped[:n]}
        verdict = next(c.verdict for c in claims(tmp_path / str(n), arms) if c.claim.startswith(claim))
        assert (verdict == "not tested") == (n < least)


@pytest.mark.parametrize(
    "values, share",
    [
        ([1.0, 3.0, 4.0, 5.0, 5.0], 0.5),
        ([1.0, INF, 4.0, 5.0, 5.0], 1.0),  # a rise to infinity, early
        ([1.0, 3.0, 4.0, INF, 5.0], 0.0),
        ([5.0, 3.0, 4.0, 5.0, 5.0], 0.0),  # no rise
        ([1.0, 3.0, 4.0], np.nan),  # too few records
        ([np.nan, 3.0, 4.0, 5.0, 5.0], np.nan),
    ],
)
def test_the_early_share_of_a_rise(values, share):
    assert _claims._early_share(10 * np.arange(len(values)), values) == pytest.approx(share, nan_ok=True)


def test_a_rise_is_not_early_or_late_without_a_record_in_the_first_quarter():
    assert np.isnan(_claims._early_share([0, 20, 30, 40], [1.0, 3.0, 4.0, 5.0]))


def test_a_run_without_a_number_leaves_its_claim_untested(tmp_path):
    """A diverged run without a score is no reason to compare those that are left."""

    def diverge(run):
        if run.arm == "plain" and run.seed < 2:
            run.directory.update_run(status="diverged")
            rows = run.directory.read_metrics()
            run.directory.metrics.unlink()
            run.directory.append_metrics({k: v for k, v in rows[0].items() if not k.startswith("classifier_score")})

    arms = {arm: [(10.0 + k, 5.0 + 0.1 * k, 10.0, 20) for k in range(6)] for arm in ("plain", "clamped")}
    found = one(claims(tmp_path, arms, diverge), "clamping raises the mean classifier_score")
    assert (found.verdict, found.found) == ("not tested", "2 of 6 runs have no classifier_score (plain)")


ARM = [(10.0 + k, 5.0 + 0.1 * k, 10.0, 20) for k in range(6)]


def test_an_arm_of_unknown_configuration_is_one_line(tmp_path):
    def forget(run):
        if run.arm == "old":
            run.directory.update_run(bindings=None)
        if run.arm == "forced":
            run.directory.update_run(sessions=[{"changed": ["was  Adam.learning_rate = 1"]}])
        if run.arm == "edited" and run.seed == 4:
            run.directory.update_run(bindings={**fabricated.bindings("edited"), "GAN.loss": "hinge"})

    found = claims(tmp_path, {arm: ARM for arm in ("old", "forced", "edited", "plain", "clamped")}, forget)
    reasons = {arm: [c for c in found if f"({arm})" in c.claim] for arm in ("old", "forced", "edited")}
    assert [[c.verdict for c in lines] for lines in reasons.values()] == [["not tested"]] * 3
    assert "6 of 6 runs have no bindings in run.json" in reasons["old"][0].found
    assert "went on with another configuration" in reasons["forced"][0].found
    assert "edited/0 and edited/4 are configured differently: GAN.loss" in reasons["edited"][0].found
    assert one(found, LOWERS).claim == f"{LOWERS} (plain → clamped)"
    assert "plain 1.00 (6 runs), clamped 1.00 (6 runs)" in one(found, SCORE).found


def test_a_clamped_arm_without_a_twin_is_not_tested(tmp_path):
    def lengthen(run):
        if run.arm == "clamped":
            run.directory.update_run(bindings={**fabricated.bindings("clamped"), "train_and_evaluate.steps": 80})

    found = one(claims(tmp_path, {"plain": ARM, "clamped": ARM}, lengthen), LOWERS)
    assert (found.claim, found.verdict) == (f"{LOWERS} (clamped)", "not tested")
    assert "no arm has the same configuration" in found.found


BASE = {"train_and_evaluate.model": "GAN", "train_and_evaluate.steps": 40, "GAN.loss": "hinge"}
CLAMP = {"GAN.generator_penalties": ["JacobianClamping"]}


def configuration(*parts):
    bound = {name: value for part in (BASE, *parts) for name, value in part.items()}
    return _configuration.read({"bindings": bound})


@pytest.mark.parametrize(
    "bound, clamped",
    [
        ({}, False),
        (CLAMP, True),
        ({"JacobianClamping.lambda_max": 20.0}, False),  # nothing refers to it
        ({"GAN.generator_penalties": ["PathLength"], "JacobianClamping.lambda_max": 20.0}, False),
        ({"GAN.generator_penalties": ["PathLength", "a/JacobianClamping"]}, True),
        ({"GAN.generator_penalties": "JacobianClamping"}, True),
        ({**CLAMP, "train_and_evaluate.model": "DampedGAN"}, False),  # the bindings of another model
        ({"train_and_evaluate.model": "DampedGAN", "DampedGAN.generator_penalties": ["JacobianClamping"]}, True),
        ({"train_and_evaluate.model": "a/GAN", "a/GAN.generator_penalties": ["JacobianClamping"]}, True),
        ({"train_and_evaluate.model": "a/GAN", "b/GAN.generator_penalties": ["JacobianClamping"]}, False),
        ({**CLAMP, "train_and_evaluate.model": "a/GAN", "a/GAN.generator_penalties": []}, False),
    ],
)
def test_what_is_clamped(bound, clamped):
    assert configuration(bound).is_clamped == clamped


PATH = {"GAN.generator_penalties": ["PathLength"]}
BOTH = {"GAN.generator_penalties": ["JacobianClamping", "PathLength"], "JacobianClamping.lambda_max": 20.0}


@pytest.mark.parametrize(
    "clamped, plain, alone",
    [
        (CLAMP, {}, True),
        (CLAMP, {"GAN.generator_penalties": []}, True),
        (CLAMP, {"JacobianClamping.epsilon": 3.0}, True),  # unused there
        (BOTH, PATH, True),
        (BOTH, {}, False),
        ({**CLAMP, "train_and_evaluate.steps": 80}, {}, False),
        ({**CLAMP, "train_and_evaluate.chunk": 8}, {}, True),  # memory alone
        ({"GAN.generator_penalties": ["JacobianClamping", "a/JacobianClamping"]}, {}, True),
        ({**BOTH, "PathLength.weight": 3.0}, PATH, False),
        (CLAMP, {"PathLength.weight": 3.0}, True),  # unused in both
    ],
)
def test_what_differs_by_the_clamp_alone(clamped, plain, alone):
    assert (configuration(clamped).without_clamp() == configuration(plain).without_clamp()) == alone


def test_scopes_are_gins():
    """A reference has its own scope, else that of what it is bound to; an inner scope's binding is over an outer's."""
    found = configuration(
        {"train_and_evaluate.model": "a/GAN", "a/GAN.generator_penalties": ["JacobianClamping", "b/JacobianClamping"]},
        {"JacobianClamping.epsilon": 1.0, "a/JacobianClamping.epsilon": 2.0, "b/JacobianClamping.lambda_max": 3.0},
    )
    inherited, own = ({"JacobianClamping": p} for p in ({"epsilon": 2.0}, {"epsilon": 1.0, "lambda_max": 3.0}))
    assert found.parameters == {"loss": "hinge", "generator_penalties": [inherited, own]}


def test_precision_is_part_of_a_configuration():
    plain, half = ({"bindings": BASE, "sessions": [{"precision": p}]} for p in ("float32", "mixed_float16"))
    assert _configuration.read(plain) != _configuration.read(half)


@pytest.mark.parametrize("rule", [rule for rule in study_rules.RULES if rule not in study_rules.UNEQUAL])
def test_rules_find_little_in_nothing(rule):
    """No more than 5 % a side; the count of 150 samples is beyond this bound once in 10,000 times."""
    rng = np.random.default_rng(0)
    bound = scipy.stats.binom.ppf(1 - 1e-4, 150, 0.05) / 150
    for name, n in (("Gaussian", 7), ("log-normal", 10)):
        found = study_rules.false_findings(rule, study_rules.DISTRIBUTIONS[name], n, 150, rng)
        assert max(found) <= bound, (name, n, found)


def test_a_correlation_of_five_is_not_asked_for():
    """A perfectly monotone sample of 5 has the interval [−0.17, 1], which holds 0."""
    groups = {"a": (np.arange(5.0), np.arange(5.0))}
    assert _rules.correlation(statistics.pooled_correlation(groups.values()), groups, name="x").side is None
    groups = {"a": (np.arange(6.0), np.arange(6.0))}
    assert _rules.correlation(statistics.pooled_correlation(groups.values()), groups, name="x").side == 1
