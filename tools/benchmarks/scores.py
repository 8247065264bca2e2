"""Scores against closed forms and other libraries, on the same features: differences, and times side by side.

tools/run python tools/benchmarks/scores.py --output FILE
tools/run python tools/benchmarks/scores.py --mnist DATA_DIR    # and what real MNIST and its distortions score

torch-fidelity and prdc are compared where they are installed: pip install -e '.[bench]'.
"""

import argparse
import datetime
import importlib.metadata
import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np
import scipy.linalg
import tensorflow as tf

from tfjc import datasets, evaluators
from tfjc.evaluators import scores, tfgan

COLUMNS = ["what", "reference", "value", "TF-GAN, relative difference", "fast form, relative difference"]
TIMES = ["what", "how", "fastest of 2 [s]", "÷ fast form"]


def main():
    """Compares and prints; writes the tables to a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000, help="features of each kind")
    parser.add_argument("--features", type=int, default=2048, help="their size")
    parser.add_argument("--mnist", metavar="DATA_DIR", help="tensorflow-datasets' directory with MNIST")
    parser.add_argument("--output", type=pathlib.Path, help="a Markdown file to write")
    flags = parser.parse_args()
    real, fake = (features(seed, flags.samples, flags.features) for seed in (0, 1))
    logits = 3.0 * np.random.default_rng(2).standard_normal([flags.samples, 1008])
    parts = [heading(flags), *table(COLUMNS, [*closed_forms(), *libraries(real, fake, logits)])]
    parts += ["", *table(TIMES, times(real, fake))]
    if flags.mnist:
        parts += ["", *mnist(flags.mnist, flags.samples)]
    document = "\n".join(parts)
    print(document)
    if flags.output:
        flags.output.write_text(document + "\n", encoding="utf-8")


def features(seed, count, size):
    """Features as networks have them: correlated, not negative, of a spectrum that falls by three decades."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).standard_normal([size, size]) / np.sqrt(size)
    spread = 10.0 ** (-1.5 * np.arange(size) / size)
    return np.maximum((1.0 + 0.1 * seed) * random.standard_normal([count, size]) * spread @ mixing + 0.1 * seed, 0.0)


def heading(flags):
    """When, with what, on how much."""
    packages = ["tensorflow", "tensorflow-gan", "numpy", "scipy", "scikit-learn", "torch", "torch-fidelity", "prdc"]
    versions = ", ".join(f"{name} {installed(name)}" for name in packages if installed(name))
    shape = f"{flags.samples} + {flags.samples} features of {flags.features}"
    return f"{datetime.date.today()}, Python {platform.python_version()}, {versions}; {shape}.\n"


def installed(name):
    """The version of a package, None where it is not here."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def row(what, reference, expected, reported, fast=None):
    """A line of the table; differences are relative, absolute where 0 is expected."""

    def difference(value):
        return "" if value is None else f"{abs(value - expected) / (abs(expected) or 1.0):.1e}"

    return [what, reference, f"{expected:.8g}", difference(reported), difference(fast)]


def closed_forms():
    """Gaussians and classifiers of which the answer is known."""
    first, second = np.diag([4.0, 1.0]), np.diag([9.0, 25.0])
    turned = np.array([[5.0, -2.0], [-2.0, 1.0]])
    root = np.trace(scipy.linalg.sqrtm(first @ turned).real)
    cases = {
        "diagonal covariances": (first, second, [3.0, -1.0], 27.0),
        "covariances that do not commute": (first, turned, [0.0, 0.0], 11.0 - 2.0 * root),
        "one of rank 1": (np.full([2, 2], 2.0), np.diag([9.0, 1.0]), [0.0, 0.0], 14.0 - 2.0 * np.sqrt(20.0)),
    }
    for name, (one, other, mean, expected) in cases.items():
        pair = gaussian(np.zeros(2), one), gaussian(np.array(mean), other)
        found = tfgan.frechet_distance(*pair), scores.frechet_distance(*pair)
        yield row(f"Fréchet distance, {name}", "closed form", expected, *found)
    for classes in (10, 1008):
        perfect = np.repeat(1e4 * np.eye(classes), 3, axis=0)
        yield row(f"score, perfect, {classes} classes", "closed form", float(classes), tfgan.classifier_score(perfect))
        constant = np.tile(np.random.default_rng(0).standard_normal(classes), [500, 1])
        yield row(f"score, constant, {classes} classes", "closed form", 1.0, tfgan.classifier_score(constant))


def gaussian(mean, covariance, count=200):
    """Samples whose mean and unbiased covariance are exactly those given."""
    x = np.random.default_rng(7).standard_normal([count, len(mean)])
    x -= x.mean(axis=0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T @ root.T + mean


def libraries(real, fake, logits):
    """The same features through SciPy, torch-fidelity and prdc."""
    distance = tfgan.frechet_distance(real, fake), scores.frechet_distance(real, fake)
    yield row("FID", "scipy.linalg.sqrtm", by_sqrtm(real, fake), *distance)
    peers = ask_peers(real, fake, logits)
    if "FID" in peers:
        yield row("FID", "torch-fidelity", peers["FID"], *distance)
        found = tfgan.kernel_distance(real, fake), scores.kernel_distance(real, fake)
        yield row("KID, one subset of all", "torch-fidelity", peers["KID"], *found)
        yield row("Inception Score, one split", "torch-fidelity", peers["IS"], tfgan.classifier_score(logits))
    found = scores.prdc(real[:2000, :128], fake[:2000, :128], k=5, k_density=5)
    for name in (name for name in found if name in peers):
        yield row(f"{name}, k = 5, 2,000 of 128", "prdc", peers[name], None, found[name])


def ask_peers(real, fake, logits):
    """What the other libraries find, by name; in a process of its own, since PyTorch and TensorFlow share none."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "features.npz"
        np.savez(path, real=real, fake=fake, logits=logits)
        child = pathlib.Path(__file__).with_name("_fidelity.py")
        done = subprocess.run([sys.executable, child, path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def by_sqrtm(real, fake):
    """The Fréchet distance as most have it: the root of Σ₁Σ₂ by SciPy."""
    first, second = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    difference = real.mean(axis=0) - fake.mean(axis=0)
    root = np.trace(scipy.linalg.sqrtm(first @ second).real)
    return difference @ difference + np.trace(first) + np.trace(second) - 2.0 * root


def times(real, fake):
    """Each way to a score, one after the other, twice round."""
    ways = {
        "FID": {"fast form": scores.frechet_distance, "TF-GAN": tfgan.frechet_distance, "scipy sqrtm": by_sqrtm},
        "KID": {"fast form": scores.kernel_distance, "TF-GAN": tfgan.kernel_distance},
        "precision, recall, density, coverage": {"fast form": scores.prdc},
    }
    for what, methods in ways.items():
        fastest = dict.fromkeys(methods, float("inf"))
        for _ in range(2):
            for name, method in methods.items():
                began = time.perf_counter()
                method(real, fake)
                fastest[name] = min(fastest[name], time.perf_counter() - began)
        for name, seconds in fastest.items():
            yield [what, name, f"{seconds:.2f}", f"{seconds / fastest['fast form']:.2f}"]


def mnist(data_dir, samples):
    """What held-out digits, half of the classes, one digit and noise score against as many training digits."""
    train = datasets.load("mnist", data_dir=data_dir)
    evaluator = evaluators.ClassifierEvaluator(tf.zeros([samples, 1]), train)
    random = np.random.default_rng(0)
    sets = {
        "held-out digits": train.reload(split="test").images[:samples],
        "digits 0 to 4": train.images[train.labels < 5][:samples],
        "held-out digits with noise, σ 64 of 255": noisy(train.reload(split="test").images[:samples], random),
        "one digit, repeated": np.repeat(train.images[:1], samples, axis=0),
        "uniform noise": random.integers(0, 256, size=(samples, 28, 28, 1)).astype(np.uint8),
    }
    found = {name: evaluator.score(images, fast=True) for name, images in sets.items()}
    plain = {key.partition("/")[0]: key for key in reversed(found["held-out digits"])}
    columns = [name for name in plain if name != "class_histogram"][::-1]
    rows = [[name, *(f"{values[plain[column]]:.4g}" for column in columns)] for name, values in found.items()]
    return [f"Classifier: {evaluator.about()}\n", *table(["images", *columns], rows)]


def noisy(images, random):
    """Images with Gaussian noise."""
    return np.clip(images + 64.0 * random.standard_normal(images.shape), 0, 255).astype(np.uint8)


def table(columns, rows):
    """Lines of a Markdown table."""
    return [f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *rows]]


if __name__ == "__main__":
    main()
