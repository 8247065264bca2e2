"""The classifier: what it learns, and how it is kept."""

import builtins
import errno
import os
import re
import sys

import keras
import numpy as np
import pytest

from tfjc import datasets, evaluators
from tfjc.evaluators import _cache


def stripes(count=60, classes=3):
    """Images 8×8×1 whose class is the column that is lit."""
    random = np.random.default_rng(0)
    labels = random.integers(classes, size=count)
    images = random.integers(0, 60, size=(count, 8, 8, 1)).astype(np.uint8)
    images[np.arange(count), :, 2 * labels + 1] = 255
    return datasets.Dataset("stripes/3", images, labels)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFJC_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def hasty(monkeypatch):
    """Few steps, for what does not ask how well it learns."""
    monkeypatch.setattr(sys.modules[evaluators.classifier.__module__], "_LEAST_STEPS", 20)


def test_it_learns_and_is_kept(cache, caplog, monkeypatch):
    """In 100 steps; test_evaluate.py has the whole recipe."""
    monkeypatch.setattr(sys.modules[evaluators.classifier.__module__], "_LEAST_STEPS", 100)
    data = stripes()
    found = evaluators.classifier(data)
    assert found.accuracy >= 0.9
    own = [r.getMessage()[:23] for r in caplog.records if r.name == "tfjc"]  # TensorFlow logs too
    assert own == ["training a classifier o", "the classifier of strip"]
    caplog.clear()
    again = evaluators.classifier(data)
    assert not caplog.records  # from the cache: no training
    assert (
        again.about()
        == found.about()
        == {"classifier": "stripes/3", "accuracy": found.accuracy, "sha256": found.digest}
    )
    logits, features = again(data.images[:7] / 127.5 - 1.0)
    assert (logits.shape, features.shape) == ((7, 3), (7, 128))
    for first, second in zip(found(data.images[:7] / 127.5 - 1.0), (logits, features), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)
    (path,) = (cache / "classifiers").glob("*.keras")
    path.write_bytes(path.read_bytes()[:-9] + b"something")
    assert evaluators.classifier(data).accuracy == found.accuracy  # seeded: as good as the first
    assert "is damaged" in caplog.records[0].getMessage()


def test_the_users_policy_does_not_matter(cache, hasty, caplog):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        first = evaluators.classifier(stripes())
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert first(np.zeros([2, 8, 8, 1]))[0].dtype == np.float32
    finally:
        keras.config.set_dtype_policy(before)
    caplog.clear()
    assert evaluators.classifier(stripes()).digest == first.digest
    assert not caplog.records


def test_a_cache_that_cannot_be_written_can_be_read(cache, hasty, monkeypatch):
    expected = evaluators.classifier(stripes()).digest
    opened = builtins.open

    def read_only(file, mode="r", *args, **kwargs):
        if "w" in mode and str(file).startswith(str(cache)):
            raise PermissionError(file)
        return opened(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", read_only)
    assert evaluators.classifier(stripes()).digest == expected


def unwritable(kind, tmp_path, monkeypatch):
    """A cache that cannot be written, though this process may be root's; returns what the warning says of it."""
    monkeypatch.delenv("TFJC_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "file").write_text("")
    if kind == "a file":
        monkeypatch.setenv("TFJC_CACHE_DIR", str(tmp_path / "file"))
        return "file cannot be written"
    if kind == "no home":
        monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home directory")))
        return "/dev/null/tfjc cannot be written"
    error = errno.EROFS if kind == "read-only" else errno.ENOSPC

    def refuse(*arguments):
        raise OSError(error, os.strerror(error))

    monkeypatch.setenv("TFJC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "replace" if kind == "full" else "mkdir", refuse)
    return rf"cache cannot be written \({os.strerror(error)}\)"


@pytest.mark.parametrize("kind", ["a file", "no home", "read-only", "full"])
def test_a_cache_that_cannot_be_written_is_done_without(kind, tmp_path, monkeypatch, hasty, caplog):
    """The classifier and the features are used, and one warning is given."""
    expected = unwritable(kind, tmp_path, monkeypatch)
    _cache._warn.cache_clear()
    evaluators.classifier(stripes())
    np.testing.assert_array_equal(_cache.array("x", "a", lambda: np.arange(5.0)), np.arange(5.0))
    warned = [record.getMessage() for record in caplog.records if "cannot be written" in record.getMessage()]
    assert len(warned) == 1 and re.search(expected, warned[0])
    assert not list(tmp_path.rglob("*.tmp*"))


def test_the_key_is_what_it_was_trained_on(cache, hasty):
    data = stripes()
    evaluators.classifier(data)
    other = data.images.copy()
    other[5] = 255 - other[5]
    train = datasets.Dataset("stripes/3", other, data.labels)
    evaluators.classifier(train)
    evaluators.classifier(data, seed=1)
    assert len(list((cache / "classifiers").glob("*.keras"))) == 3


def test_a_fifth_is_held_out_where_there_are_no_splits():
    data = datasets.load("digits")
    train, test = data.labelled()
    assert (len(train.images), len(test.images)) == (1438, 359)
    assert (train.split, test.split) == ("train", "test")
    together = np.concatenate([train.images, test.images]).reshape(1797, -1)
    np.testing.assert_array_equal(np.sort(together.sum(axis=1)), np.sort(data.images.reshape(1797, -1).sum(axis=1)))
    np.testing.assert_array_equal(data.labelled()[1].images, test.images)
    assert set(test.labels) == set(range(10))


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros([20, 8, 8, 1], np.uint8), None, "dataset 'mine' has no labels"),
        (np.zeros([20, 8, 8, 1], np.uint8), np.zeros(20, int), "of two classes or more, .*, found 0"),
        (np.zeros([20, 8, 8, 1], np.uint8), np.arange(20) % 2 + 1, "labels 0, 1, ... of two .*, found 1, 2"),
        (np.zeros([20, 8, 8, 1], np.uint8), np.arange(20) - 1, "found -1, 0, 1, 2, 3, ..."),
        (np.zeros([20, 8, 8, 1], np.uint8), np.arange(20), "with each class in the training part"),
        (np.zeros([20, 8, 8, 1], np.uint8), np.arange(20) / 2, r"whole numbers \[20\], .*, found float64 \[20\]"),
        (np.zeros([20, 8, 8, 1], np.uint8), np.eye(20, dtype=int), r"one for each image, found int64 \[20, 20\]"),
        (np.zeros([20, 8, 8, 1], np.uint8), np.arange(19), r"one for each image, found int64 \[19\]"),
        (
            np.zeros([4, 8, 8, 1], np.uint8),
            np.arange(4),
            "a fifth of .* cannot be held out: it has 4 images",
        ),
        (np.zeros([20, 2], np.float32), np.arange(20) % 2, r"a classifier takes images .*, found \[2\]"),
    ],
)
def test_data_that_cannot_be_learnt(images, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluators.classifier(datasets.Dataset("mine", images, labels))


def test_the_cache_computes_what_is_damaged_or_of_another_key(cache):
    calls = []

    def compute():
        calls.append(1)
        return np.arange(5.0)

    for key in ("a", "a", "b"):
        np.testing.assert_array_equal(_cache.array("x", key, compute), np.arange(5.0))
    assert len(calls) == 2
    file = cache / "features" / "x-a.npz"
    file.write_bytes(file.read_bytes()[:-30])
    np.testing.assert_array_equal(_cache.array("x", "a", compute), np.arange(5.0))
    assert len(calls) == 3
    np.savez(file, array=np.zeros(5), digest="0")  # another array than was written
    np.testing.assert_array_equal(_cache.array("x", "a", compute), np.arange(5.0))
    assert len(calls) == 4
    assert not list(cache.rglob("*.tmp"))


def test_digests_tell_arrays_apart():
    x = np.arange(6, dtype=np.int32)
    different = {
        _cache.digest(x),
        _cache.digest(x.reshape(2, 3)),
        _cache.digest(x.astype(np.int64)),
        _cache.digest(x, 1),
    }
    assert len(different | {_cache.digest("a", "b"), _cache.digest("ab")}) == 6
    assert _cache.digest(x) == _cache.digest(x.copy())


def test_where_the_cache_is(monkeypatch):
    monkeypatch.delenv("TFJC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(_cache.directory()) == "/somewhere/tfjc"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(_cache.directory()) == "/home/someone/.cache/tfjc"
