"""Every file of a run directory, damaged in five ways, under every command: the intact part is used, or a refusal."""

import csv
import hashlib
import os
import re
import shutil

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

from tfjc import architectures, datasets, models
from tfjc.runs import configuration, experiment
from tfjc.saving import export, loading
from tfjc.study import _plan, _report
from tfjc.support.run_directory import RunDirectory

IMAGES = np.random.default_rng(0).integers(0, 256, [16, 2, 2, 1], np.uint8)
CONFIG = "train_and_evaluate.eval_every = 2\n"


def networks(image_shape, seed=0):
    generator = keras.Sequential(
        [keras.Input([2]), keras.layers.Dense(4), keras.layers.Reshape([2, 2, 1])], name="generator"
    )
    critic = keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(1)], name="critic")
    return architectures.Networks(generator, critic, architectures.standard_normal(2))


@pytest.fixture(scope="module")
def gan():
    """One model for all cases, since its construction is what takes time."""
    made = networks((2, 2, 1))
    return models.GAN(made.generator, made.critic, prior=made.prior)


class Began(Exception):
    """Training would go on here."""


def train(path, gan, steps=6):
    """`train` with a tiny run; returns its `RunDirectory`."""
    experiment.train_and_evaluate(
        path,
        dataset=lambda **where: datasets.Dataset("mine", IMAGES),
        architecture=networks,
        model=lambda *arguments, **options: gan,
        steps=steps,
        batch_size=4,
        eval_every=2,
        eval_latents=3,
        config=lambda: {"config.gin": CONFIG, "operative_config.gin": CONFIG},
        bindings={"train_and_evaluate.eval_every": 2},
    )
    return RunDirectory(path)


@pytest.fixture(scope="module")
def finished(gan, tmp_path_factory):
    """A finished run of 6 steps, with evaluations and checkpoints at 0, 2, 4 and 6; 0's checkpoint is gone."""

    def export_in_a_word(generator, path, **options):
        path.mkdir()
        for name in ("saved_model.pb", "fingerprint.pb"):
            (path / name).write_text("an export")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(export, "export_generator", export_in_a_word)
        run = train(tmp_path_factory.mktemp("damage") / "run", gan)
    run.scores.write_text('{"model": "a"}\n')
    return run


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def deleted(path):
    path.unlink()


DAMAGES = (cut, flipped, empty, zeroed, deleted)
DAMAGED = r"run\.json is damaged"
LACKS, LINE = r"metrics\.jsonl lacks step \d; .*restore the files from a copy", r"metrics\.jsonl is damaged in line \d"
FIRST = r"spectra/step_00000000\.npz is damaged.*restore the files|spectra lacks step 0.*restore the files"
NETWORKS = r"generator\.json cannot be loaded|has no generator\.json"
GIN = r"config\.gin is damaged|is no run directory: it has no config\.gin"

# What `train` does, and what `evaluate` and `analyze` measure: a step, or the refusal's message. A tuple has what holds
# for each damage in turn.
CASES = {
    "run.json": (
        (*[DAMAGED] * 4, "holds no run, but other files"),
        (*[DAMAGED] * 4, "expected a SavedModel directory"),
    ),
    "config.gin": ("finished", 6),
    "operative_config.gin": ("finished", 6),
    "metrics.jsonl": ((LACKS + "|step [024]", LINE, LACKS, LACKS, LACKS), 6),
    "spectra/step_00000006.npz": ("step 4", 6),
    "spectra/step_00000000.npz": (FIRST, 6),
    "generator.json": ("finished", NETWORKS),
    "checkpoints/ckpt-6.index": ("finished", 4),
    "checkpoints/ckpt-6.data-00000-of-00001": ("finished", 4),
    "checkpoints/ckpt-6.sha256": ("finished", (4, 4, 4, 4, 6)),
    "checkpoints/checkpoint": ("finished", 6),
    "samples/step_00000006.png": ("finished", 6),
    "saved_model/saved_model.pb": ((*["finished"] * 4, "other files than an exported generator: remove it"), 6),
    "conditioning.png": ("finished", 6),
    "scores.jsonl": ("finished", 6),
    "tensorboard": ("finished", 6),
}


def of(expected, damage):
    return expected[DAMAGES.index(damage)] if isinstance(expected, tuple) else expected


def damaged(finished, path, name, damage):
    """A copy of the finished run in which one file is damaged."""
    run = RunDirectory(shutil.copytree(finished.path, path))
    file = run.path / name
    damage(next(file.iterdir()) if file.is_dir() else file)
    return run


def digests(run):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in run.path.rglob("*") if path.is_file()}


@pytest.fixture
def begins(monkeypatch):
    """Training ends before its first step."""

    def begin(run, gan, *rest):
        raise Began(f"step {int(gan.step.numpy())}")

    monkeypatch.setattr(experiment, "_train", begin)


def outcome(attempt):
    """What `attempt` returns, or the message of its refusal."""
    try:
        return attempt()
    except (Began, ValueError) as ended:
        return str(ended)


@pytest.mark.parametrize("name", CASES)
def test_training_goes_on_from_what_is_whole_or_says_what_is_lost(finished, gan, tmp_path, begins, name):
    """A refusal, and a finished run, change nothing on the disk."""
    for damage in DAMAGES:
        run = damaged(finished, tmp_path / damage.__name__, name, damage)
        before = digests(run)
        found = outcome(lambda run=run: train(run.path, gan) and "finished")
        assert re.search(of(CASES[name][0], damage), found), (damage, found)
        assert found.startswith("step ") or digests(run) == before, damage


@pytest.mark.parametrize("name", CASES)
def test_what_is_measured_is_whole_or_refused(finished, tmp_path, name):
    for damage in DAMAGES:
        run = damaged(finished, tmp_path / damage.__name__, name, damage)
        expected = of(CASES[name][1], damage)
        found = outcome(lambda run=run: loading.load_any(run.path).source)
        expected = expected if isinstance(expected, str) else rf"at step {expected}$"
        assert re.search(expected, found), (damage, found)


@pytest.mark.parametrize(
    "name", ["run.json", "config.gin", "generator.json", "metrics.jsonl", "checkpoints/ckpt-6.sha256"]
)
def test_devices_and_pipes_in_the_place_of_files_are_not_read(finished, gan, tmp_path, begins, name):
    """Reading /dev/zero ends with the memory, reading a pipe never."""
    run = damaged(finished, tmp_path / "run", name, deleted)
    for put in (lambda path: path.symlink_to("/dev/zero"), os.mkfifo):
        put(run.path / name)
        found = outcome(lambda: loading.load_any(run.path).source)
        assert re.search("must be a file, and is none|at step 4$", found)
        found = outcome(lambda: train(run.path, gan, steps=8) and "finished")
        assert re.search("must be a file, and is none|step 4$", found)
        (run.path / name).unlink()


def test_a_directory_whose_name_is_a_pattern_goes_on(finished, gan, tmp_path, begins):
    """TensorFlow takes the names of checkpoints for patterns."""
    run = RunDirectory(shutil.copytree(finished.path, tmp_path / "run[1] *?\\"))
    (run.checkpoints / "ckpt-6.sha256").unlink()  # what has no checksum is read whole
    assert outcome(lambda: train(run.path, gan, steps=8)) == "step 6"
    assert loading.load_any(run.path).source == f"{run.path} at step 6"


@pytest.mark.parametrize("damage", DAMAGES[:-1])
def test_a_damaged_configuration_is_not_evaluated_by(finished, tmp_path, damage):
    run = damaged(finished, tmp_path / "run", "config.gin", damage)
    found = outcome(lambda: configuration.refuse_code(run.config))
    assert found is None if damage == empty else re.search(r"config\.gin is damaged", found)


def test_damaged_runs_do_not_stop_a_report(finished, tmp_path, monkeypatch):
    """A study in which every run but six is damaged in another way: each is told, and the others count."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: path.write_bytes(b""))
    cases = [(name, damage) for name in CASES for damage in DAMAGES] + [None] * 6
    study = _plan.make(arms={"a": ["x.gin"]}, seeds=len(cases))
    directory = _plan.StudyDirectory(tmp_path / "study")
    directory.begin(study)
    for run, case in zip(directory.list_runs(study), cases, strict=True):
        damaged(finished, run.directory.path, *case) if case else shutil.copytree(finished.path, run.directory.path)
    _report.write(directory, np.random.default_rng(0))
    page = (directory.path / "report.html").read_text()
    with open(directory.path / "results.csv", newline="", encoding="utf-8") as stream:
        statuses = [row["status"] for row in csv.DictReader(stream)]
    assert statuses[-6:] == ["finished"] * 6
    for seed, case in enumerate(cases[:-6]):
        name = case[0]
        lost = name in ("run.json", "metrics.jsonl") or name.startswith("spectra")
        expected = "waiting" if case == ("run.json", deleted) else "damaged" if lost else "finished"
        assert statuses[seed] == expected, case
        assert (f"a/{seed} ({expected}" in page) == lost, case
    assert directory.list_runs(study)[0].status() == "damaged"
