"""The command line `python -m tfjc.evaluate`, as its users start it, and what it chooses to score with."""

import json
import os
import sys

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from tfjc import datasets, evaluators
from tfjc.evaluators import evaluation
from tfjc.runs import configuration
from tfjc.support.run_directory import RunDirectory

SMALL = "--gin_bindings=dataset.size = 8"  # as small as the digits were scanned


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A generator of digits' size that knows ten classes."""
    z, labels = keras.Input([4], name="z"), keras.Input([1], dtype="int32", name="labels")
    both = keras.layers.Concatenate()([z, keras.layers.Flatten()(keras.layers.Embedding(10, 3)(labels))])
    images = keras.layers.Reshape([8, 8, 1])(keras.layers.Dense(64, activation="tanh")(both))
    path = tmp_path_factory.mktemp("model") / "conditional.keras"
    keras.Model([z, labels], images).save(path)
    return path


@pytest.fixture(scope="module")
def scored(finished_run, digits_classifier, conditional, tmp_path_factory):
    """(the directory in which commands ran one after another, {name: what the command printed})."""
    here = tmp_path_factory.mktemp("scored")
    run, saved = [f"--workdir={finished_run.path}", "--samples=400"], f"--model={finished_run.saved_model}"
    digits = ["--gin_bindings=dataset.name = 'digits'", SMALL]
    labelled = [f"--model={conditional}", "--gin_file=digits", SMALL]
    cases = {
        "newest": [*run, "--output=run.jsonl"],
        "step 2": [*run, "--output=run.jsonl", "--step=2"],
        "newest again": [*run, "--output=run.jsonl"],
        "saved model": [saved, *digits, "--samples=20", "--output=either.jsonl"],
        "run": [f"--model={finished_run.path}", "--samples=20", "--output=either.jsonl"],
        "gin file": [saved, "--gin_file=digits", SMALL, "--samples=50", "--inception=https://module.invalid/1"],
        "labels": [*labelled, "--num_classes=10", "--label=3", "--samples=20", "--output=labels.jsonl"],
        "unknown labels": [*labelled, "--num_classes=20", "--samples=100"],
    }
    program = [sys.executable, ROOT / "tests/command_cases.py", "evaluate", json.dumps(list(cases.values())), "600"]
    done = forks.run(program, cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    answers = dict(zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True))
    for name, (status, printed) in answers.items():
        assert status == (2 if name == "unknown labels" else 0), (name, printed)
    return here, {name: printed for name, (_, printed) in answers.items()}


def test_a_run_is_scored_and_results_are_added(scored, digits_classifier):
    """At the newest checkpoint and at step 2: other weights, other scores; the same again: the same."""
    here, printed = scored
    for name in ("newest", "step 2", "newest again"):
        assert "classifier_score/digits/400" in printed[name] and "run.jsonl" in printed[name]
    first, second, third = rows(here / "run.jsonl")
    key = "frechet_distance/digits/penultimate/400"
    assert first["model"].endswith("at step 6") and second["model"].endswith("at step 2")
    assert first[key] == pytest.approx(third[key], rel=1e-6) != second[key]
    assert {"least_sampled_class/digits/360", "precision/digits/penultimate/400"} < first.keys()
    assert sum(first["class_histogram/digits/400"]) == 400
    (with_what,) = first["evaluators"]
    assert (with_what["evaluator"], with_what["dataset"], with_what["real"]) == ("ClassifierEvaluator", "digits", 400)
    assert with_what["accuracy"] == digits_classifier.accuracy > 0.8 and len(with_what["sha256"]) == 16


def test_the_dataset_alone_is_enough_and_a_run_needs_none(scored):
    first, second = rows(scored[0] / "either.jsonl")
    assert first["classifier_score/digits/20"] == pytest.approx(second["classifier_score/digits/20"], rel=1e-5)


def test_an_exported_generator_is_scored_against_a_gin_files_data(scored):
    here, printed = scored
    assert "InceptionEvaluator is left out: the Inception module https://module.invalid/1 is not" in printed["gin file"]
    assert "50 samples (50 generated, 50 real) for 128 features" in printed["gin file"]
    (row,) = rows(here / "analysis" / "saved_model" / "scores.jsonl")
    assert row["samples"] == 50 and "classifier_score/digits/50" in row


def test_a_conditional_generators_row_says_which_labels(scored):
    here, printed = scored
    (row,) = rows(here / "labels.jsonl")
    assert (row["num_classes"], row["label"]) == (10, 3)
    assert "the generator fails on these latents or labels" in printed["unknown labels"]
    assert "Traceback" not in printed["unknown labels"]


def test_the_classifier_is_trained_on_demand(tmp_path, monkeypatch):
    """In a cache of its own."""
    monkeypatch.setenv("TFJC_CACHE_DIR", str(tmp_path / "cache"))
    command = [sys.executable, "-m", "tfjc.evaluate", "--train_classifier", "--gin_bindings=dataset.name = 'digits'"]
    done = forks.run([*command, SMALL], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "training a classifier of digits on 1438 images" in done.stderr
    assert "classifier of digits: 9" in done.stdout or "classifier of digits: 100" in done.stdout


Z = tf.zeros([8, 2])


def names(chosen):
    return [type(evaluator).__name__ for evaluator in chosen]


def dataset(shape, labels=True):
    images = np.zeros([10, *shape], np.uint8 if len(shape) == 3 else np.float32)
    return lambda **_: datasets.Dataset("mine", images, np.arange(10) % 2 if labels else None)


def test_what_suits_the_data():
    assert names(evaluation.choose(Z, dataset=dataset([8, 8, 3]))) == ["ClassifierEvaluator", "InceptionEvaluator"]
    assert names(evaluation.choose(Z, dataset=dataset([8, 8, 3], labels=False))) == ["InceptionEvaluator"]
    assert names(evaluation.choose(Z, dataset=dataset([8, 8, 1]))) == ["ClassifierEvaluator"]
    assert names(evaluation.choose(Z, dataset=dataset([2]))) == ["MissingModes"]
    inception = evaluators.InceptionEvaluator
    grey = evaluation.choose(Z, dataset=dataset([8, 8, 1], labels=False), inception=inception)
    assert names(grey) == ["InceptionEvaluator"]
    with pytest.raises(ValueError, match="expected labels or images of 3 channels, found neither"):
        evaluation.choose(Z, dataset=dataset([8, 8, 1], labels=False))


def test_what_was_configured_for_training_is_what_is_scored():
    configuration.parse(
        ["digits"], ["train_and_evaluate.scores = [(@MissingModes, 500)]", "MissingModes.batch_size = 3"]
    )
    (chosen,) = configuration.choose(Z)
    assert (type(chosen), chosen.batch_size, chosen.data.name) == (evaluators.MissingModes, 3, "digits")
    configuration.parse(
        ["digits"], ["evaluate.scores = [@InceptionEvaluator]", "InceptionEvaluator.inception = 'gs://x'"]
    )
    (chosen,) = configuration.choose(Z)
    assert (type(chosen), chosen.inception) == (evaluators.InceptionEvaluator, "gs://x")


def test_what_suits_the_data_is_configured_too(monkeypatch):
    """Colour images have Inception's scores once, by the module that the flag names."""
    configuration.parse([], ["InceptionEvaluator.inception = 'gs://x'", "ClassifierEvaluator.batch_size = 7"])
    monkeypatch.setattr(configuration, "dataset", dataset([8, 8, 3]))
    chosen = configuration.choose(Z, inception=True)
    assert names(chosen) == ["ClassifierEvaluator", "InceptionEvaluator"]
    assert (chosen[0].batch_size, chosen[1].inception) == (7, "gs://x")


def test_a_run_directory_names_its_scores(tmp_path):
    assert RunDirectory(tmp_path).scores == tmp_path / "scores.jsonl"
