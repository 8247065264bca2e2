"""The claims that need arms of VAEs and of memorisers, on records with known numbers."""

import fabricated
import numpy as np
import pytest

from tfjc.study import _claims, _read

PLAIN = [(13.0 + 0.1 * k, 8.0 + 0.1 * (-1) ** k, 5.0, 20) for k in range(8)]
WELL = [(8.0 + 0.1 * k, 4.0 + 0.1 * (-1) ** k, 50.0, 1) for k in range(8)]
VAES, MEMORISERS = "spectra of VAEs vary less", "a generator that memorises"


def claims(path, arms, change=lambda run: None):
    """{the beginning of each claim: Claim} on a study with these arms; `change` edits each run's records before."""
    directory = fabricated.study(path, arms)
    study = directory.read()
    for run in directory.list_runs(study):
        change(run)
    found = _claims.check(_read.read(directory, study), list(arms), np.random.default_rng(0))
    assert len({claim.claim for claim in found}) == len(found)
    return found


def one(found, beginning):
    (claim,) = [claim for claim in found if claim.claim.startswith(beginning)]
    return claim


def spreads(**spread):
    """Gives each run spectra whose logarithms lie `spread[arm]`·z from a common curve, z of the run's own."""

    def change(run):
        z = np.random.default_rng([run.seed, run.arm == "vae"]).normal(size=5)
        values = np.geomspace(2.0, 0.1, 5) * np.exp(spread[run.arm] * z)
        fabricated.spectrum(run, 40, values)

    return change


@pytest.mark.parametrize(
    "spread, verdict",
    [
        ({"plain": 0.5, "vae": 0.01}, "supported"),
        ({"plain": 0.01, "vae": 0.5}, "contradicted"),
        ({"plain": 0.2, "vae": 0.2}, "not supported"),
    ],
)
def test_spectra_of_vaes_vary_less(tmp_path, spread, verdict):
    found = one(claims(tmp_path, {"plain": PLAIN, "vae": WELL}, spreads(**spread)), VAES)
    assert (found.claim.endswith("(plain, vae)"), found.verdict) == (True, verdict), found


def test_the_spread_of_spectra_is_that_of_their_logarithms():
    """Two runs whose ln σ differ by d everywhere lie d/2 from their mean, and d/√2 with n − 1 for n."""

    class Run:
        def __init__(self, spectrum):
            self.spectrum = spectrum

    curve = np.geomspace(2.0, 0.1, 5)
    distances = _claims._distances([Run(curve), Run(np.exp(0.6) * curve), Run(None), Run(0.0 * curve)])
    np.testing.assert_allclose(distances, [*[0.6 / np.sqrt(2)] * 2, np.nan, np.inf], rtol=1e-12)


def test_a_spectrum_with_a_zero_leaves_the_claim_on_vaes_untested(tmp_path):
    def flatten(run):
        if run.arm == "vae" and run.seed == 2:
            fabricated.spectrum(run, 40, np.array([2.0, 1.0, 0.5, 0.2, 0.0]))

    found = one(claims(tmp_path, {"plain": PLAIN, "vae": WELL}, flatten), VAES)
    assert (found.verdict, "distance of spectra (vae) is infinite in 1 of 8 runs" in found.found) == (
        "not tested",
        True,
    )


def memorised(score):
    def change(run):
        row = run.directory.read_metrics()[-1]
        fabricated.record(run, {**row, "step": 50, "memorised_classifier_score": score})

    return change


@pytest.mark.parametrize(
    "memoriser, score, verdict",
    [
        (WELL, 9.0, "supported"),
        (WELL, 3.0, "contradicted"),  # fresh latents score better than those it has learnt
        (WELL, 4.0, "not supported"),  # it has not collapsed beside what it learnt
        ([(20.0, *values[1:]) for values in WELL], 9.0, "contradicted"),  # it is ill conditioned
    ],
)
def test_a_memoriser_is_well_conditioned_though_collapsed(tmp_path, memoriser, score, verdict):
    found = one(claims(tmp_path, {"plain": PLAIN, "memoriser": memoriser}, memorised(score)), MEMORISERS)
    assert (found.claim.endswith("(plain, memoriser)"), found.verdict) == (True, verdict), found


@pytest.mark.parametrize("arms", [{"plain": PLAIN}, {"vae": WELL, "memoriser": WELL}, {"plain": PLAIN[:2]}])
def test_without_such_arms_they_are_not_tested(tmp_path, arms):
    found = claims(tmp_path, arms)
    for beginning in (VAES, MEMORISERS):
        assert (one(found, beginning).verdict, one(found, beginning).found) == ("not tested", "no such arms")


def test_few_runs_of_such_arms_are_not_tested(tmp_path):
    found = claims(tmp_path, {"plain": PLAIN[:2], "vae": WELL[:2], "memoriser": WELL[:2]}, memorised(9.0))
    assert (one(found, VAES).verdict, one(found, VAES).found) == ("not tested", "2 and 2 runs; 5 are needed")
    assert (one(found, MEMORISERS).verdict, one(found, MEMORISERS).found[:22]) == (
        "not tested",
        "2 runs; 7 are needed; ",
    )


def test_correlations_are_those_of_gans(tmp_path):
    """Memorisers that are well conditioned and score badly do not enter."""
    gans = [(10.0 + k, 9.0 - k, 5.0 + k, 20) for k in range(6)]
    name = "log-condition number correlates with classifier_score"
    alone = one(claims(tmp_path / "alone", {"plain": gans}), name)
    beside = one(claims(tmp_path / "beside", {"plain": gans, "memoriser": WELL}), name)
    assert alone.found == beside.found
    assert alone.verdict == "supported"


RESCUED, FASTER = "one critic step a generator step", "training time more than halves"


def scored(*scores):
    """Arms w5, w1 and w1_jc with six runs each about these scores."""
    arms = zip(("w5", "w1", "w1_jc"), scores, strict=True)
    return {arm: [(10.0, score + 0.1 * (-1) ** k, 5.0, 20) for k in range(6)] for arm, score in arms}


@pytest.mark.parametrize(
    "scores, verdict",
    [((8.0, 2.0, 7.0), "supported"), ((8.0, 8.0, 8.0), "not supported"), ((8.0, 7.0, 3.0), "contradicted")],
)
def test_clamping_rescues_one_critic_step(tmp_path, scores, verdict):
    found = one(claims(tmp_path, scored(*scores)), RESCUED)
    assert (found.claim.endswith("(w5, w1, w1_jc)"), found.verdict) == (True, verdict), found


@pytest.mark.parametrize("times, verdict", [(0.4, "supported"), (0.9, "contradicted")])
def test_time_is_halved_where_the_ratio_is_below_a_half(tmp_path, times, verdict):
    """Times 10·(1 ± 1 %), and `times` as much with one step: the ratio of geometric means is `times`."""

    def change(run):
        rows = run.directory.read_metrics()
        factor = (times if run.arm == "w1_jc" else 1.0) * (1.0 + 0.01 * (-1) ** run.seed)
        fabricated.record(run, {**rows[-1], "step": 50, "seconds": 10.0 * factor})

    found = one(claims(tmp_path, scored(8.0, 2.0, 7.0), change), FASTER)
    assert found.verdict == verdict
    assert found.found.startswith(f"time of a finished run: ratio {times:.2f}")


def test_one_critic_step_is_not_tested_without_its_arms(tmp_path):
    arms = scored(8.0, 2.0, 7.0)
    del arms["w1"]
    found = claims(tmp_path, arms)
    assert [one(found, beginning).verdict for beginning in (RESCUED, FASTER)] == ["not tested"] * 2


def test_clamping_is_judged_beside_its_own_twin(tmp_path):
    """With one critic step clamped beside one critic step, not beside five."""
    found = [claim.claim for claim in claims(tmp_path, scored(8.0, 2.0, 7.0)) if "clamping raises" in claim.claim]
    assert found == ["clamping raises the mean classifier_score (w1 → w1_jc)"]
