"""What the tests share."""

import contextlib
import fcntl
import gc
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile

import pytest
from lighter import lighten

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # tiny graphs gain nothing from threads, and each core has a worker of pytest
# XLA compiles each program for a few calls: LLVM's optimisations take longer than they save.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share the directory of the process that starts them
    _cache = tempfile.TemporaryDirectory()  # no test reads or writes the cache of whoever runs it
    os.environ["TFJC_CACHE_DIR"] = _cache.name

ROOT = pathlib.Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_finish():
    gc.collect()
    lighten()
    os.fsync = lambda _: None  # no test switches the machine off, and each wait for the disk takes milliseconds
    if "tensorflow" in sys.modules:
        _optimise_graphs(False)


def _optimise_graphs(wanted):
    """Says whether Grappler rewrites a graph before its first run: a tenth of the time of tests with many graphs.

    It is off in pytest's own processes. It is on where a test uses `grappler`, and in the processes that tests start.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not wanted})


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


@contextlib.contextmanager
def _grappler():
    _optimise_graphs(True)
    try:
        yield
    finally:
        _optimise_graphs(False)


@pytest.fixture
def grappler():
    """TensorFlow optimises graphs, as it does for users: for optimised graphs, whole runs and documented numbers."""
    with _grappler():
        yield


@pytest.fixture
def prepared_data():
    """A tensorflow-datasets directory with real MNIST and CIFAR-10."""
    return _shared(SHARED / "tfds")


@pytest.fixture
def mnist_archives():
    """A directory with MNIST's four official archives."""
    return _shared(SHARED / "archives" / "mnist")


@pytest.fixture
def unrendered(monkeypatch):
    """Figures are made, and their files left empty: for what looks at numbers and text alone."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: pathlib.Path(path).write_bytes(b""))


@pytest.fixture
def unexported(monkeypatch):
    """No generator is exported and no curve is drawn, which takes half of a short run, where nobody looks at these."""
    from short_runs import without_exports

    without_exports(monkeypatch)


@pytest.fixture
def untraced(monkeypatch):
    """Training steps run without a graph: fewer than ten small steps take less time than the trace of one.

    For tests that do not compare the numbers of such steps with those of a graph.
    """
    from short_runs import without_graphs

    without_graphs(monkeypatch)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A function (name, make) → RunDirectory: a copy of what `make(path)` writes, which one worker of pytest calls."""
    from tfjc.support.run_directory import RunDirectory

    common = tmp_path_factory.getbasetemp()
    common = common.parent if "PYTEST_XDIST_WORKER" in os.environ else common

    def run(name, make):
        with open(common / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (common / name).exists():
                make(common / f"{name}.new")
                (common / f"{name}.new").rename(common / name)
        return RunDirectory(shutil.copytree(common / name, tmp_path_factory.mktemp(name) / "a"))

    return run


@pytest.fixture(scope="session")
def finished_run(made_once):
    """The directory of a short clamped run on digits, from the command line's own code path."""
    from short_runs import train

    with _grappler():
        return made_once("finished_run", train)


@pytest.fixture(scope="session")
def digits_classifier():
    """The cache has a classifier of digits of 8 pixels for what is scored with one: 300 steps; the recipe takes 800."""
    from tfjc import datasets, evaluators

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys.modules[evaluators.classifier.__module__], "_LEAST_STEPS", 300)
        return evaluators.classifier(datasets.load("digits", size=8))
