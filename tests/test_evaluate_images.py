"""Images in folders and arrays, scored by `python -m tfjc.evaluate --images=... --reference=...`."""

import json
import re

import command_cases
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfjc import datasets, evaluate, evaluators
from tfjc.evaluators import evaluation, given, tfgan
from tfjc.runs import devices

RNG = np.random.default_rng(0)
PHOTOS, SAMPLES = (RNG.integers(0, 256, [12, 8, 10, 3]).astype(np.uint8) for _ in range(2))
SMALL = "--gin_bindings=dataset.size = 8"


def features(images):
    """27 means of patches of images in [−1, 1], resized as Inception's are."""
    large = tf.image.resize(images, [299, 299], method="bilinear")
    return tf.reshape(tf.nn.avg_pool2d(large, 99, 99, "VALID"), [-1, 27])


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The directory of a module with Inception's outputs."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def call(images):
        found = features(images)
        return {"logits": 3.0 * found[:, :9], "pool_3": found}

    module.__call__ = call
    path = tmp_path_factory.mktemp("module")
    tf.saved_model.save(module, str(path))
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "prepare", lambda *_: None)  # it would change this process for all later tests
    return tmp_path


def put(folder, images):
    """Writes images as PNG files, the last one first."""
    folder.mkdir(parents=True)
    for index, image in reversed(list(enumerate(images))):
        Image.fromarray(image.squeeze()).save(folder / f"{index:05d}.png")


def called(*arguments):
    return command_cases.called("evaluate", evaluate, list(map(str, arguments)), 60)


def row_of(*arguments):
    """The row that a command adds; numbers alone."""
    status, printed = called(*arguments, "--output=row.jsonl")
    assert status == 0, printed
    with open("row.jsonl") as lines:
        return json.loads(lines.readlines()[-1])


def numbers(row):
    return {key: value for key, value in row.items() if "/" in key}


def test_folders_arrays_and_archives_score_alike(here, module):
    """FID and KID of the same pixels as PNG files, uint8, floats in [−1, 1] and [0, 255]; none needs labels."""
    put(here / "real", PHOTOS), put(here / "fake" / "sub", SAMPLES)
    np.save("real.npy", PHOTOS)
    np.save("bytes.npy", SAMPLES)
    np.save("wide.npy", SAMPLES.astype(np.float64))
    np.savez("samples.npz", SAMPLES / 127.5 - 1.0, np.arange(12))
    np.savez("named.npz", other=np.zeros(3), images=SAMPLES.astype(np.float32))
    found = row_of("--images=fake", "--reference=real", f"--inception={module}")
    real, fake = (features(images / np.float32(127.5) - 1.0) for images in (PHOTOS, SAMPLES))
    assert found["fid/inception/12"] == pytest.approx(tfgan.frechet_distance(real, fake), rel=1e-3)
    assert found["kid/inception/12"] == pytest.approx(tfgan.kernel_distance(real, fake), rel=1e-3)
    assert (found["images"], found["reference"], found["samples"]) == ("fake", "real", 12)
    assert not any(key.startswith(("classifier", "missing")) for key in found)
    for name in ("bytes.npy", "wide.npy", "samples.npz", "named.npz"):
        other = row_of(f"--images={name}", "--reference=real.npy", f"--inception={module}")
        assert numbers(other) == pytest.approx(numbers(found), rel=1e-4), name
    half = row_of("--images=bytes.npy", "--reference=real", f"--inception={module}", "--output_range=0,255")
    assert (half["output_range_from"], half["clipped"]) == ("given", 0.0)
    assert numbers(half) == pytest.approx(numbers(found), rel=1e-4)


def test_what_needs_labels_is_left_out_and_said(here, module):
    np.save("real.npy", PHOTOS)
    status, printed = called("--images=real.npy", "--reference=real.npy", f"--inception={module}")
    assert status == 0
    assert "classifier scores and missing modes are left out: the real images (array) have no labels" in printed
    assert re.search(r"precision/inception/12 +1\n", printed)
    (row,) = (here / "analysis" / "real" / "scores.jsonl").read_text().splitlines()
    assert json.loads(row)["fid/inception/12"] == pytest.approx(0.0, abs=1e-6)


def test_a_datasets_name_brings_its_labels(here, digits_classifier):
    """The digits themselves, grey PNG files: as many classes as the labels say, and no Fréchet distance."""
    data = datasets.load("digits", size=8)
    put(here / "digits", data.images[:200])
    np.save("digits.npy", data.images[:200, :, :, 0])
    found = row_of("--images=digits", "--reference=digits", SMALL)
    assert found["missing_classes/digits/200"] == 0.0 and found["classifier_score/digits/200"] > 3.0
    histogram = np.array(found["class_histogram/digits/200"])
    assert np.abs(histogram - np.bincount(data.labels[:200])).sum() < 80  # the classifier is right on 85 %
    assert numbers(row_of("--images=digits.npy", "--reference=digits", SMALL)) == numbers(found)


def test_given_images_score_as_the_generator_that_made_them():
    """One path to scores: the same keys and numbers, from z or from what was saved at z."""
    real = datasets.Dataset("mine", RNG.uniform(-1, 1, [40, 4, 4, 1]).astype(np.float32))
    z = tf.random.stateless_normal([30, 16], [0, 0])

    def classify(images):
        flat = np.reshape(images, [len(images), 16])
        return flat[:, :3], flat[:, :5]

    def generate(z):
        return tf.reshape(tf.tanh(z), [-1, 4, 4, 1])

    def scored(generate, z):
        chosen = [evaluators.ClassifierEvaluator(z, real, classifier=classify)]
        return evaluation.evaluate(generate, chosen, about={}, bar=_NoBar)

    images = generate(z).numpy()
    (of_model, notes), (of_images, _) = scored(generate, z), scored(given.look_up(images, real), given.indices(images))
    assert numbers(of_model) == numbers(of_images) and notes == []


class _NoBar:
    def __init__(self, *_):
        self.update = lambda count: None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_sizes_and_channels(here):
    """Grey and colour meet without loss; a size of one's own brings both folders there."""
    grey = datasets.Dataset("grey", PHOTOS[..., :1])
    tripled = np.repeat(SAMPLES[..., :1], 3, axis=-1)
    z = given.indices(SAMPLES)
    np.testing.assert_array_equal(given.look_up(tripled, grey)(z), SAMPLES[..., :1])
    colour = datasets.Dataset("colour", PHOTOS)
    np.testing.assert_array_equal(given.look_up(SAMPLES[..., :1], colour)(z[3:5]), tripled[3:5])
    put(here / "real", PHOTOS), put(here / "fake", SAMPLES[:, :6])
    (here / "fake" / "notes.txt").write_text("6 by 10 pixels")
    assert given.read("fake").shape == (12, 6, 10, 3)
    assert given.read("fake", (4, 5)).shape == given.reference("real", [4, 5]).images.shape == (12, 4, 5, 3)
    np.testing.assert_array_equal(given.reference("real").images, PHOTOS)


def test_labels_of_a_reference_are_its_folders(here):
    put(here / "real" / "a", PHOTOS[:3]), put(here / "real" / "b", PHOTOS[3:])
    np.testing.assert_array_equal(given.reference("real").labels, [0] * 3 + [1] * 9)
    Image.fromarray(PHOTOS[0]).save("real/stray.png")
    assert len(given.read("real")) == 13  # classes do not matter to samples


def saved(name, array):
    return lambda: np.save(name, array)


MISTAKES = {
    "no reference": (saved("a.npy", SAMPLES), ["--images=a.npy"], "the dataset is not named"),
    "two sources": (saved("a.npy", SAMPLES), ["--images=a.npy", "--model=a.npy"], "give one of them"),
    "nothing": (lambda: None, ["--images=a.npy", "--reference=digits"], "images a.npy does not exist"),
    "samples": (saved("a.npy", SAMPLES), ["--images=a.npy", "--samples=9", "--reference=digits"], "scores all images"),
    "an unknown reference": (saved("a.npy", SAMPLES), ["--images=a.npy", "--reference=digit"], "nearest: digits"),
    "another size": (
        saved("a.npy", SAMPLES),
        ["--images=a.npy", "--reference=r.npy"],
        'the images are [8, 10, 3], those of array [16, 16, 3]; --gin_bindings="dataset.size = [8, 10]"',
    ),
    "channels first": (
        saved("a.npy", np.zeros([9, 3, 16, 16], np.uint8)),
        ["--images=a.npy", "--reference=r.npy"],
        "numpy.moveaxis(images, 1, -1)",
    ),
    "two sizes in a folder": (
        lambda: [put_one(f"a/{side}.png", side) for side in (8, 9)],
        ["--images=a", "--reference=digits"],
        "8 by 8 pixels in a/8.png and 9 by 9 pixels in a/9.png",
    ),
    "an empty folder": (lambda: put_one("a/b.txt", 8), ["--images=a", "--reference=digits"], "holds no image"),
    "another file": (lambda: put_one("a.png", 8), ["--images=a.png", "--reference=digits"], "found the file 'a.png'"),
    "a text": (lambda: write("a.npy", b"text"), ["--images=a.npy", "--reference=digits"], "cannot be read as a .npy"),
    "an object": (
        saved("a.npy", np.array([{}, []], object)),
        ["--images=a.npy", "--reference=digits"],
        "cannot be read as a .npy or .npz file of images",
    ),
    "a file cut short": (
        lambda: write("a.npy", array_bytes(SAMPLES)[:400]),
        ["--images=a.npy", "--reference=digits"],
        "cannot be read as a .npy",
    ),
    "several arrays": (
        lambda: np.savez("a.npz", x=SAMPLES, y=SAMPLES),
        ["--images=a.npz", "--reference=digits"],
        "or one that is called images or arr_0, found x, y",
    ),
    "booleans": (saved("a.npy", SAMPLES > 9), ["--images=a.npy", "--reference=digits"], "found bool [12, 8, 10, 3]"),
    "complex numbers": (saved("a.npy", SAMPLES * 1j), ["--images=a.npy", "--reference=digits"], "found complex128"),
    "one number": (saved("a.npy", np.float32(3)), ["--images=a.npy", "--reference=digits"], "found float32 []"),
    "no images": (saved("a.npy", SAMPLES[:0]), ["--images=a.npy", "--reference=r.npy"], "with N ≥ 1"),
    "too few": (saved("a.npy", SAMPLES[:5]), ["--images=a.npy", "--reference=r.npy"], "at least 6 samples"),
    "too few real ones": (
        saved("a.npy", SAMPLES),
        ["--images=r.npy", "--reference=few.npy"],
        "at least 6 real images are needed, found 5",
    ),
    "an open range": (
        saved("a.npy", np.random.default_rng(0).uniform(0, 1, [9, 16, 16, 3])),
        ["--images=a.npy", "--reference=r.npy"],
        "--output_range=LOW,HIGH",
    ),
    "an open range of the reference": (
        saved("a.npy", np.random.default_rng(0).uniform(0, 1, [9, 16, 16, 3])),
        ["--images=r.npy", "--reference=a.npy"],
        "save the images as uint8",
    ),
    "a range that is not theirs": (
        saved("a.npy", np.full([9, 16, 16, 3], 200.0)),
        ["--images=a.npy", "--reference=r.npy", "--output_range=0,1"],
        "output_range is (0, 1), but values run over",
    ),
    "not finite": (
        saved("a.npy", np.full([9, 16, 16, 3], np.nan)),
        ["--images=a.npy", "--reference=r.npy"],
        "images must be finite",
    ),
    "nothing that needs no labels": (
        saved("a.npy", SAMPLES[..., 0]),
        ["--images=a.npy", "--reference=a.npy"],
        "--inception=DIR scores grey images without labels",
    ),
    "no Inception": (
        saved("a.npy", SAMPLES),
        ["--images=a.npy", "--reference=a.npy", "--inception=https://module.invalid/1"],
        "nothing could be scored",
    ),
}


def put_one(name, side):
    from pathlib import Path

    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros([side, side, 3], np.uint8)).save(name, format="PNG")


def write(name, content):
    with open(name, "wb") as stream:
        stream.write(content)


def array_bytes(array):
    import io

    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_ends_with_status_2_and_one_message(case, here, module):
    make, arguments, expected = MISTAKES[case]
    np.save("r.npy", np.random.default_rng(1).integers(0, 256, [9, 16, 16, 3]).astype(np.uint8))
    np.save("few.npy", np.zeros([5, 16, 16, 3], np.uint8))
    make()
    by = [f"--inception={module}"] if "r.npy" in " ".join(arguments) else []
    status, printed = called(*arguments, *by)
    message = printed[printed.find("tfjc.evaluate:") :]
    assert (status, printed.count("tfjc.evaluate:")) == (2, 1), printed
    assert expected in message and "Traceback" not in printed and len(message) < 700, message
    assert not (here / "analysis").exists()
