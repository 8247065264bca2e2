"""The report of a study whose records are known."""

import csv
import json
import re
import sys

import fabricated
import forks
import numpy as np
import pytest
from conftest import ROOT
from matplotlib.figure import Figure

from tfjc.study import _figures, _html, _lambdas, _read, _report
from tfjc.support.run_directory import lock

# (log-condition, score, Fréchet distance, least-sampled class) of ten runs an arm, the paper's number: without clamping
# five are ill conditioned and score badly, with it none is.
GOOD = [(8.0 + 0.1 * k, 9.0 - 0.1 * k, 3.0 + 0.1 * k, 30 - k) for k in range(5)]
BAD = [(20.0 + 0.1 * k, 4.2 - 0.1 * k, 60.0 + 3 * k, 4 - k) for k in range(5)]
PLAIN = GOOD + BAD
CLAMPED = [(7.5 + 0.04 * k, 9.3 - 0.02 * k, 2.5 + 0.04 * k, 33) for k in range(10)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    _report.write(fabricated.study(path, {"plain": PLAIN, "clamped": CLAMPED}), np.random.default_rng(0))
    return path


@pytest.fixture
def coarse(monkeypatch):
    """Figures are drawn with few pixels, and once."""
    draw = Figure.savefig

    def save(figure, path, **options):
        draw(figure, path, dpi=20) if str(path).endswith(".png") else path.write_text("<svg/>")

    monkeypatch.setattr(Figure, "savefig", save)


def claims(path):
    return {claim["claim"]: claim for claim in fabricated.numbers(path)["claims"]}


def test_it_writes_a_page_tables_and_figures(written):
    page = (written / "report.html").read_text()
    assert page.count("<img") == 8
    assert not re.search(r'(src|href)="(?!data:)', page)  # it needs nothing but itself
    for name in ("answer", "curves", "by_arm", "against_conditioning", "latents", "spectra", "histograms", "samples"):
        assert (written / f"{name}.png").stat().st_size > 2000
        assert "<svg" in (written / f"{name}.svg").read_text()
    with open(written / "results.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 20 and "seconds" not in rows[0]
    assert rows[1] | {"arm": "clamped", "seed": "0", "mean_log_condition": "7.5", "quotient_0.5": "9.3"} == rows[1]


def test_its_claims_are_those_of_the_records(written):
    found = claims(written)
    assert found["runs fall into a well and an ill conditioned cluster (plain)"]["verdict"] == "supported"
    assert "5 under 14" in found["runs fall into a well and an ill conditioned cluster (plain)"]["found"]
    for name in ("classifier_score", "frechet_distance", "least_sampled_class"):
        assert found[f"log-condition number correlates with {name}"]["verdict"] == "supported"
    arms = "(plain → clamped)"
    for claim in (
        "lowers the log-condition number",
        "raises the mean classifier_score",
        "lowers the mean frechet_distance",
    ):
        assert found[f"clamping {claim} {arms}"]["verdict"] == "supported", claim
    assert found["the log-condition number rises early in training (plain)"]["verdict"] == "supported"
    assert {claim["verdict"] for name, claim in found.items() if "VAE" in name or "memorises" in name} == {"not tested"}
    assert all(claim["rule"] for claim in found.values())


def test_the_values_exchanged_contradict(tmp_path, unrendered):
    directory = fabricated.study(tmp_path, {"plain": CLAMPED, "clamped": PLAIN})
    _report.write(directory, np.random.default_rng(0))
    found = claims(tmp_path)
    assert found["clamping raises the mean classifier_score (plain → clamped)"]["verdict"] == "contradicted"
    assert found["clamping lowers the variance of classifier_score (plain → clamped)"]["verdict"] == "contradicted"
    assert found["runs fall into a well and an ill conditioned cluster (plain)"]["verdict"] == "not supported"


def test_the_statistics_are_of_runs_with_an_outcome_and_the_others_are_named(tmp_path, unrendered):
    """A diverged run counts; an unfinished one and one that never began do not, and the page says which."""
    directory = fabricated.study(tmp_path, {"plain": [*GOOD[:4], None, BAD[0]], "clamped": CLAMPED[:6]})
    runs = directory.list_runs(directory.read())
    runs[0].directory.update_run(status="diverged")
    runs[1].directory.update_run(status="collapsed")
    runs[2].directory.update_run(status="running")
    runs[4].directory.update_run(status="running")
    runs[9].failure.write_text(json.dumps({"status": "refused", "why": "no such dataset"}))
    with lock(runs[4].directory.path):
        _report.write(directory, np.random.default_rng(0))
    summary = fabricated.numbers(tmp_path)["summaries"]["plain"]["classifier_score"]
    assert summary["counts"]["finite"] == 3
    assert summary["mean"] == pytest.approx(np.mean([9.0, 8.7, 4.2]))
    page = (tmp_path / "report.html").read_text()
    assert fabricated.numbers(tmp_path)["runs"][9]["status"] == "finished"  # an outcome stays one
    assert "Runs without an outcome, left out below: plain/1 (killed), plain/2 (running), plain/4 (waiting)." in page


def test_a_run_that_diverged_before_its_first_evaluation_has_no_value(tmp_path, unrendered):
    """Its one record is of the untrained network. It counts as a run without a value, and no claim is decided."""
    directory = fabricated.study(tmp_path, {"plain": PLAIN[:6], "clamped": CLAMPED[:6]})
    runs = directory.list_runs(directory.read())
    for run, rows in ((runs[0], 1), (runs[3], 0)):
        kept = run.directory.read_metrics()[:rows]
        run.directory.metrics.write_text("".join(json.dumps(row) + "\n" for row in kept))
        run.directory.drop_spectra()
        fabricated.spectrum(run, 0, np.ones(5))
        run.directory.update_run(status="diverged")
    _report.write(directory, np.random.default_rng(0))
    found, numbers = claims(tmp_path), fabricated.numbers(tmp_path)
    assert numbers["summaries"]["plain"]["classifier_score"]["counts"] == {"finite": 5, "infinite": 0, "missing": 1}
    raises = found["clamping raises the mean classifier_score (plain → clamped)"]
    assert (raises["verdict"], raises["found"]) == ("not tested", "1 of 6 runs have no classifier_score (plain)")
    assert [row["status"] for row in numbers["runs"]].count("diverged") == 2
    assert np.isnan(numbers["runs"][0]["classifier_score"])
    assert _read.read(directory, directory.read())[0].spectrum is None


def test_a_constant_score_is_not_correlated(tmp_path, unrendered):
    """Ten collapsed runs, all of score 1."""
    directory = fabricated.study(tmp_path, {"plain": [(10.0 + k, 1.0, 50.0 + k, 0) for k in range(10)]})
    _report.write(directory, np.random.default_rng(0))
    found = claims(tmp_path)["log-condition number correlates with classifier_score"]
    assert found["verdict"] == "not tested"
    assert found["found"].endswith("(x and y): plain none (10 runs); y: all values are equal")


def test_few_runs_are_not_tested(tmp_path, unrendered):
    _report.write(fabricated.study(tmp_path, {"plain": PLAIN[:2], "clamped": CLAMPED[:2]}), np.random.default_rng(0))
    found = claims(tmp_path)
    verdicts = {claim["verdict"] for claim in found.values()}
    assert verdicts == {"not tested"}, found


def test_infinite_numbers_are_drawn_at_the_edge_and_counted(tmp_path, coarse):
    plain = [(np.inf, *values[1:]) for values in PLAIN]
    _report.write(fabricated.study(tmp_path, {"plain": plain, "clamped": CLAMPED}), np.random.default_rng(0))
    found = fabricated.numbers(tmp_path)["summaries"]["plain"]["mean_log_condition"]
    assert (found["counts"]["finite"], found["counts"]["infinite"], found["median"]) == (0, 10, np.inf)
    assert "∞" in (tmp_path / "report.html").read_text()
    lowers = claims(tmp_path)["clamping lowers the log-condition number (plain → clamped)"]
    assert (lowers["verdict"], "infinite in 10 of 10 → 0 of 10 runs" in lowers["found"]) == ("supported", True)


def test_the_tables_are_what_the_claims_decide_by(written):
    """The pooled correlation and each interval of `results.json` are those in the claims' text."""
    found, numbers = claims(written), fabricated.numbers(written)
    pooled = numbers["correlations"]["classifier_score"]["pooled"]
    assert (
        f"Spearman {pooled['spearman']:.2f} [{pooled['low']:.2g}, {pooled['high']:.2g}]"
        in found["log-condition number correlates with classifier_score"]["found"]
    )
    compared = numbers["comparisons"]["plain → clamped"]
    order, mean = compared["mean_log_condition"]["superiority"], compared["classifier_score"]["difference"]
    for claim, (low, high) in {
        "clamping lowers the log-condition number": (order["low"], order["high"]),
        "clamping raises the mean classifier_score": (mean["low"], mean["high"]),
    }.items():
        assert f"[{low:.2g}, {high:.2g}]" in found[f"{claim} (plain → clamped)"]["found"]


def test_what_comes_from_files_is_escaped(tmp_path, unrendered):
    directory = fabricated.study(
        tmp_path, {"plain": PLAIN, "clamped": CLAMPED}, bindings=["x = '<script>alert(1)</script>'"]
    )
    for run in directory.list_runs(directory.read()):
        run.directory.update_run(sessions=[{"device": "<b onload=x>"}])
    _report.write(directory, np.random.default_rng(0))
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page and "<b onload" not in page
    assert "&lt;script&gt;" in page


def test_the_same_records_give_the_same_report(tmp_path, unrendered):
    texts = []
    for name in ("first", "second"):
        directory = fabricated.study(tmp_path / name, {"plain": PLAIN[:3], "clamped": CLAMPED[:3]})
        _report.write(directory, np.random.default_rng(0))
        texts.append((tmp_path / name / "results.json").read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("value, text", [(1.23456, "1.235"), (np.inf, "∞"), (-np.inf, "−∞"), (np.nan, ""), (7, "7")])
def test_numbers_in_tables(value, text):
    assert _html.number(value) == text


def recorded(tmp_path, values):
    directory = fabricated.study(tmp_path, {"plain": values})
    return _read.read(directory, directory.read())


def test_lambdas_are_the_quantiles_of_the_runs_that_scored_best(tmp_path):
    """Q's quantile q is (q + 0.5)·score here; of the good cluster, scores 9.0 to 8.6, the median is that of 8.8."""
    runs = recorded(tmp_path, PLAIN)
    best, why = _lambdas.best_runs(runs, "classifier_score")
    assert ([run.run.seed for run in best], why) == ([0, 1, 2, 3, 4], "")
    assert _lambdas.best_runs(runs, "frechet_distance")[0] == best
    assert _lambdas.interval(best, "0.05", "0.95") == pytest.approx((0.55 * 8.8, 1.45 * 8.8))


def test_lambdas_say_when_the_runs_do_not_separate(tmp_path):
    best, why = _lambdas.best_runs(recorded(tmp_path, CLAMPED), "classifier_score")
    assert ([run.run.seed for run in best], why[:20]) == ([0, 1, 2, 3, 4], "they are one cluster")


def test_lambdas_leave_no_infinite_score_out(tmp_path):
    """Infinite Fréchet distances are the worst, and no split is made of the others."""
    values = [(8.0, 9.0, distance, 30) for distance in (np.inf, 3.0, np.inf, 1.0, 2.0, 50.0)]
    best, why = _lambdas.best_runs(recorded(tmp_path, values), "frechet_distance")
    assert ([run.run.seed for run in best], why) == ([1, 3, 4], "a split is not defined for infinite values, found 2")
    best[0].rows[-1]["quotient_quantiles"]["0.95"] = np.nan
    with pytest.raises(ValueError, match="the quotients of plain/1 must be finite"):
        _lambdas.interval(best, "0.05", "0.95")


def test_lambdas_need_the_records_of_the_best_runs(tmp_path):
    best = recorded(tmp_path, PLAIN[:2])
    best[1].rows.clear()
    best[1].about["status"] = "diverged"
    with pytest.raises(ValueError, match="no quotients were recorded of plain/1: the run diverged before"):
        _lambdas.interval(best, "0.05", "0.95")


def run(module, *flags):
    command = [sys.executable, "-m", f"tfjc.study.{module}", *flags]
    return forks.run(command, cwd=ROOT)


def test_the_commands(tmp_path):
    fabricated.study(tmp_path, {"plain": PLAIN, "clamped": CLAMPED})
    done = run("report", f"--workdir={tmp_path}")
    assert (done.returncode, "supported" in done.stdout) == (0, True), done.stderr
    done = run("lambdas", f"--workdir={tmp_path}", "--score=frechet_distance", "--low=0.25")
    assert done.returncode == 0, done.stderr
    bindings = (tmp_path / "lambdas.gin").read_text()
    assert bindings in done.stdout
    assert re.fullmatch(r"JacobianClamping.lambda_min = 6.6\nJacobianClamping.lambda_max = 12.8\n", bindings)


@pytest.mark.parametrize(
    "module, flags, message",
    [
        ("report", [], "--workdir is needed"),
        ("report", ["--workdir=nowhere"], "nowhere holds no study: it has no study.json"),
        ("report", ["--workdir=EMPTY"], "has recorded anything yet"),
        ("lambdas", ["--workdir=EMPTY"], "no run of arm 'plain' in .* has an outcome with scores"),
        ("lambdas", ["--workdir=FULL", "--score=fid"], "unknown score 'fid'"),
        ("lambdas", ["--workdir=FULL", "--arm=plane"], "unknown arm 'plane'; nearest: plain"),
        ("lambdas", ["--workdir=FULL", "--arm=clamped"], "arm 'clamped' is clamped: its quotients"),
        ("lambdas", ["--workdir=FULL", "--low=0.1"], "unknown quantile '0.1'"),
        ("lambdas", ["--workdir=FULL", "--low=0.95"], "the lower quantile must be less than the higher"),
    ],
)
def test_mistakes_end_with_one_message(module, flags, message, tmp_path):
    fabricated.study(tmp_path / "empty", {"plain": [None]})
    fabricated.study(tmp_path / "full", {"plain": PLAIN, "clamped": CLAMPED})
    flags = [flag.replace("EMPTY", str(tmp_path / "empty")).replace("FULL", str(tmp_path / "full")) for flag in flags]
    done = run(module, *flags)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert re.search(message, done.stderr)


def test_a_logarithmic_axis_of_less_than_a_decade_has_a_few_ticks():
    for low, high in ((22.0, 41.0), (101.0, 107.0), (3.0, 900.0)):
        figure = Figure()
        axes = figure.subplots()
        axes.plot([low, high], [0, 1])
        _figures._scale(axes, "x", "frechet_distance@500")
        figure.draw_without_rendering()
        assert 2 <= sum(low <= tick <= high for tick in axes.get_xticks()) <= 5
        assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))
