"""What the tests share."""

import gc
import multiprocessing
import os
import pathlib
import sys
import tempfile

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # tiny graphs gain nothing from threads, and each core has a worker of pytest
if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share the directory of the process that starts them
    _cache = tempfile.TemporaryDirectory()  # no test reads or writes the cache of whoever runs it
    os.environ["TFJC_CACHE_DIR"] = _cache.name

ROOT = pathlib.Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_finish():
    """What was imported stays: Python's collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def _shared(path):
    if not path.exists():
        message = f"{path.name} is not beside the checkout"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


@pytest.fixture(autouse=True)
def nothing_goes_on():
    """A test that fails leaves no process behind, which would take the processors from all other tests."""
    yield
    for child in multiprocessing.active_children():
        child.kill()


@pytest.fixture
def prepared_data():
    """A tensorflow-datasets directory with real MNIST and CIFAR-10."""
    return _shared(SHARED / "tfds")


@pytest.fixture
def mnist_archives():
    """A directory with MNIST's four official archives."""
    return _shared(SHARED / "archives" / "mnist")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The directory of a short clamped run on digits, from the command line's own code path."""
    from short_runs import train

    return train(tmp_path_factory.mktemp("run") / "a")


@pytest.fixture(scope="session")
def digits_classifier():
    """The cache has a classifier of digits of 8 pixels for what is scored with one: 300 steps; the recipe takes 800."""
    from tfjc import datasets, evaluators

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys.modules[evaluators.classifier.__module__], "_LEAST_STEPS", 300)
        return evaluators.classifier(datasets.load("digits", size=8))
