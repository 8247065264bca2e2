"""What former versions left must load: a run of each in tests/data/ (tools/release_fixture.py makes them)."""

import zipfile

import numpy as np
import pytest
from conftest import ROOT

from tfjc.runs import configuration, experiment
from tfjc.saving import export, loading
from tfjc.study import _plan, _read
from tfjc.support import figures
from tfjc.support.run_directory import RunDirectory

VERSIONS = sorted((ROOT / "tests" / "data").glob("*.zip"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.stem)
def old(request, tmp_path):
    """The directory of a finished run of four steps."""
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path / "runs" / "arm" / "seed_000")
    return RunDirectory(tmp_path / "runs" / "arm" / "seed_000")


def test_there_are_old_runs():
    assert [path.stem for path in VERSIONS if path.stem.startswith("0.1.0")]


def test_generators_make_what_they_made(old):
    """The export and the newest checkpoint, against numbers that the version itself wrote down."""
    with np.load(old.path / "expected.npz") as expected:
        exported, restored = export.load_generator(old.saved_model), loading.load(old.path)
        for generator in (exported, restored.generate):
            np.testing.assert_allclose(generator(expected["z"]), expected["images"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            exported.metric_tensor(expected["z"]), expected["metric_tensor"], rtol=1e-4, atol=1e-6
        )
    assert restored.source.endswith("at step 4")
    assert exported.sample(3, seed=1).shape == (3, 28, 28, 1)


def test_training_does_not_go_on_with_other_noise(old):
    """Streams of noise are others since: half a run of each would be nobody's run. The old one stays as it is."""
    before = {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()}
    configuration.parse([str(old.config)], ["train_and_evaluate.steps = 6"])
    with pytest.raises(ValueError, match=r"holds a run at other latents: .*Choose another --workdir"):
        configuration.train_and_evaluate(workdir=old.path)
    after = {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path in before} == before


def test_records_are_read(old, tmp_path):
    """As figures, summaries and a study's report read them."""
    rows = old.read_metrics()
    figures.conditioning(rows, tmp_path / "conditioning.png")
    assert "4 steps in" in experiment.summary(old, rows)
    study = _plan.make(arms={"arm": ["digits_jc.gin"]}, seeds=1)
    (recorded,) = _read.read(_plan.StudyDirectory(tmp_path), study)
    assert recorded.has_outcome
    assert recorded.series("mean_log_condition")[0] == (0, 2, 4)
    assert _read.results([recorded])[0]["quotient_0.5"] == rows[-1]["quotient_quantiles"]["0.5"]
    assert recorded.spectrum.shape == (2,)
