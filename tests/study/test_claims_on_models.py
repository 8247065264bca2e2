"""The claims that need arms of VAEs and of memorisers, on records with known numbers."""

import fabricated
import numpy as np
import pytest

from tfjc.study import _claims, _read

PLAIN = [(13.0 + 0.1 * k, 8.0 + 0.1 * (-1) ** k, 5.0, 20) for k in range(6)]
WELL = [(8.0 + 0.1 * k, 4.0 + 0.1 * (-1) ** k, 50.0, 1) for k in range(6)]
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
        np.savez(run.directory.spectra, steps=[40], average_jacobian=values[None])

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
    np.testing.assert_allclose(distances, [0.6 / np.sqrt(2)] * 2, rtol=1e-12)


def memorised(score):
    def change(run):
        row = run.directory.read_metrics()[-1]
        run.directory.append_metrics({**row, "step": 50, "memorised_classifier_score": score})

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
    for beginning in (VAES, MEMORISERS):
        assert (one(found, beginning).verdict, one(found, beginning).found) == ("not tested", "2 and 2 runs")


def test_correlations_are_those_of_gans(tmp_path):
    """Memorisers that are well conditioned and score badly do not enter."""
    gans = [(10.0 + k, 9.0 - k, 5.0 + k, 20) for k in range(6)]
    name = "log-condition number correlates with classifier_score"
    alone = one(claims(tmp_path / "alone", {"plain": gans}), name)
    beside = one(claims(tmp_path / "beside", {"plain": gans, "memoriser": WELL}), name)
    assert alone.found == beside.found
    assert alone.verdict == "supported"
