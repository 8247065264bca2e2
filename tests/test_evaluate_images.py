"""Images in folders and arrays, scored by `python -m tfjc.evaluate --images=... --reference=...`."""

import json
import os
import re
import sys

import forks
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from PIL import Image

from tfjc import datasets, evaluators
from tfjc.evaluators import evaluation, given, tfgan

RNG = np.random.default_rng(0)
PHOTOS, SAMPLES = (RNG.integers(0, 256, [12, 8, 10, 3]).astype(np.uint8) for _ in range(2))
DIGITS = "--reference=digits"
SMALL = "--gin_bindings=dataset.size = 8"


def features(images):
    """27 means of patches of images in [−1, 1], resized as Inception's are."""
    large = tf.image.resize(images, [299, 299], method="bilinear")
    return tf.reshape(tf.nn.avg_pool2d(large, 99, 99, "VALID"), [-1, 27])


def save_module(path):
    """Writes a module with Inception's outputs."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def call(images):
        found = features(images)
        return {"logits": 3.0 * found[:, :9], "pool_3": found}

    module.__call__ = call
    tf.saved_model.save(module, str(path))


def put(folder, images):
    """Writes images as PNG files, the last one first."""
    folder.mkdir(parents=True)
    for index, image in reversed(list(enumerate(images))):
        Image.fromarray(image.squeeze()).save(folder / f"{index:05d}.png")


def prepare(here):
    """The files that the commands below read."""
    put(here / "real", PHOTOS), put(here / "fake" / "sub", SAMPLES)
    put(here / "digits", datasets.load("digits", size=8).images[:200])
    put(here / "two_sizes", [np.zeros([side, side, 3], np.uint8) for side in (8, 9)])
    (here / "empty").mkdir()
    (here / "empty" / "a.txt").write_text("no image")
    uniform = np.random.default_rng(0).uniform(0, 1, [9, 16, 16, 3])
    arrays = {
        **{"real": PHOTOS, "bytes": SAMPLES, "wide": SAMPLES.astype(np.float64), "grey": SAMPLES[..., 0]},
        **{"digits": datasets.load("digits", size=8).images[:200, :, :, 0]},
        **{"square": (255 * uniform[:, ::-1]).astype(np.uint8), "first": np.zeros([9, 3, 16, 16], np.uint8)},
        **{"boolean": SAMPLES > 9, "complex": SAMPLES * 1j, "number": np.float32(3), "none": SAMPLES[:0]},
        **{"few": np.zeros([5, 16, 16, 3], np.uint8), "unit": uniform, "bright": np.full([9, 16, 16, 3], 200.0)},
        "nan": np.full([9, 16, 16, 3], np.nan),
    }
    for name, array in arrays.items():
        np.save(here / f"{name}.npy", array)
    np.save(here / "object.npy", np.array([{}, []], object))
    np.savez(here / "samples.npz", SAMPLES / 127.5 - 1.0, np.arange(12))
    np.savez(here / "named.npz", other=np.zeros(3), images=SAMPLES.astype(np.float32))
    np.savez(here / "several.npz", x=SAMPLES, y=SAMPLES)
    (here / "text.npy").write_text("no array")
    (here / "cut.npy").write_bytes((here / "bytes.npy").read_bytes()[:400])


SCORED = {
    "folders": ["--images=fake", "--reference=real"],
    **{f"array {name}": [f"--images={name}", "--reference=real.npy"] for name in ("bytes.npy", "wide.npy")},
    **{f"archive {name}": [f"--images={name}", "--reference=real.npy"] for name in ("samples.npz", "named.npz")},
    "a given range": ["--images=bytes.npy", "--reference=real", "--output_range=0,255"],
    "itself": ["--images=real.npy", "--reference=real.npy"],
    "a folder of digits": ["--images=digits", DIGITS, SMALL],
    "an array of digits": ["--images=digits.npy", DIGITS, SMALL],
}
MISTAKES = {
    "no reference": (["--images=bytes.npy"], "the dataset is not named"),
    "two sources": (["--images=bytes.npy", "--model=bytes.npy"], "give one of them"),
    "nothing": (["--images=a.npy", DIGITS], "images a.npy does not exist"),
    "samples": (["--images=bytes.npy", "--samples=9", DIGITS], "scores all images"),
    "an unknown reference": (["--images=bytes.npy", "--reference=digit"], "nearest: digits"),
    "another size": (
        ["--images=bytes.npy", "--reference=square.npy"],
        'the images are [8, 10, 3], those of array [16, 16, 3]; --gin_bindings="dataset.size = [8, 10]"',
    ),
    "channels first": (["--images=first.npy", "--reference=square.npy"], "numpy.moveaxis(images, 1, -1)"),
    "two sizes in a folder": (
        ["--images=two_sizes", DIGITS],
        "8 by 8 pixels in two_sizes/00000.png and 9 by 9 pixels in two_sizes/00001.png",
    ),
    "an empty folder": (["--images=empty", DIGITS], "holds no image"),
    "another file": (["--images=real/00000.png", DIGITS], "found the file 'real/00000.png'"),
    "a text": (["--images=text.npy", DIGITS], "cannot be read as a .npy"),
    "an object": (["--images=object.npy", DIGITS], "cannot be read as a .npy or .npz file of images"),
    "a file cut short": (["--images=cut.npy", DIGITS], "cannot be read as a .npy"),
    "several arrays": (["--images=several.npz", DIGITS], "or one that is called images or arr_0, found x, y"),
    "booleans": (["--images=boolean.npy", DIGITS], "found bool [12, 8, 10, 3]"),
    "complex numbers": (["--images=complex.npy", DIGITS], "found complex128"),
    "one number": (["--images=number.npy", DIGITS], "found float32 []"),
    "no images": (["--images=none.npy", "--reference=real.npy"], "with N ≥ 1"),
    "too few": (["--images=few.npy", "--reference=square.npy"], "at least 6 samples are needed, found 5"),
    "too few real ones": (["--images=square.npy", "--reference=few.npy"], "at least 6 real images are needed, found 5"),
    "an open range": (["--images=unit.npy", "--reference=square.npy"], "--output_range=LOW,HIGH"),
    "an open range of the reference": (["--images=square.npy", "--reference=unit.npy"], "save the images as uint8"),
    "a range that is not theirs": (
        ["--images=bright.npy", "--reference=square.npy", "--output_range=0,1"],
        "output_range is (0, 1), but values run over",
    ),
    "not finite": (["--images=nan.npy", "--reference=square.npy"], "images must be finite"),
    "nothing that needs no labels": (
        ["--images=grey.npy", "--reference=grey.npy", "--inception="],
        "--inception=DIR scores grey images without labels",
    ),
    "no Inception": (
        ["--images=bytes.npy", "--reference=bytes.npy", "--inception=https://module.invalid/1"],
        "nothing could be scored",
    ),
}


@pytest.fixture(scope="module")
def answered(digits_classifier, tmp_path_factory):
    """(the directory of all files, {case: (status, what was printed, row or None)}), from one process."""
    here = tmp_path_factory.mktemp("images")
    prepare(here)
    save_module(here / "module")
    cases = {**SCORED, **{name: arguments for name, (arguments, _) in MISTAKES.items()}}
    asked = []
    for index, arguments in enumerate(cases.values()):
        needs_inception = DIGITS not in arguments and not any("--inception" in word for word in arguments)
        output = [] if arguments is SCORED["itself"] else [f"--output={index}.jsonl"]
        asked.append([*arguments, *["--inception=module"] * needs_inception, *output])
    program = [sys.executable, ROOT / "tests/command_cases.py", "evaluate", json.dumps(asked), "600"]
    done = forks.run(program, cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [here / f"{index}.jsonl" for index in range(len(cases))]
    rows = [json.loads(path.read_text()) if path.exists() else None for path in rows]
    answers = json.loads(done.stdout.splitlines()[-1])
    return here, {name: (*answer, row) for name, answer, row in zip(cases, answers, rows, strict=True)}


def numbers(row):
    return {key: value for key, value in row.items() if "/" in key}


def test_folders_arrays_and_archives_score_alike(answered):
    """FID and KID of the same pixels as PNG files, uint8, floats in [−1, 1] and [0, 255]; none needs labels."""
    (status, printed, found) = answered[1]["folders"]
    assert status == 0, printed
    real, fake = (features(images / np.float32(127.5) - 1.0) for images in (PHOTOS, SAMPLES))
    assert found["fid/inception/12"] == pytest.approx(tfgan.frechet_distance(real, fake), rel=1e-3)
    assert found["kid/inception/12"] == pytest.approx(tfgan.kernel_distance(real, fake), rel=1e-3)
    assert (found["images"], found["reference"], found["samples"]) == ("fake", "real", 12)
    assert not any(key.startswith(("classifier", "missing")) for key in found)
    others = [name for name in SCORED if name.startswith(("array", "archive", "a given"))]
    assert len(others) == 5
    for name in others:
        assert answered[1][name][0] == 0, answered[1][name]
        assert numbers(answered[1][name][2]) == pytest.approx(numbers(found), rel=1e-4), name
    told = answered[1]["a given range"][2]
    assert (told["output_range_from"], told["clipped"]) == ("given", 0.0)


def test_what_needs_labels_is_left_out_and_said(answered):
    here, answers = answered
    status, printed, _ = answers["itself"]
    assert status == 0
    assert "classifier scores and missing modes are left out: the real images (array) have no labels" in printed
    assert re.search(r"precision/inception/12 +1\n", printed)
    (row,) = (here / "analysis" / "real" / "scores.jsonl").read_text().splitlines()
    assert json.loads(row)["fid/inception/12"] == pytest.approx(0.0, abs=1e-6)


def test_a_datasets_name_brings_its_labels(answered):
    """Digits themselves, as grey PNG files and as an array [N, height, width]."""
    data = datasets.load("digits", size=8)
    status, printed, found = answered[1]["a folder of digits"]
    assert status == 0, printed
    assert found["missing_classes/digits/200"] == 0.0 and found["classifier_score/digits/200"] > 3.0
    histogram = np.array(found["class_histogram/digits/200"])
    assert np.abs(histogram - np.bincount(data.labels[:200])).sum() < 80  # the classifier is right on 85 %
    assert numbers(answered[1]["an array of digits"][2]) == numbers(found)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_ends_with_status_2_and_one_message(case, answered):
    status, printed, row = answered[1][case]
    message = printed[printed.find("tfjc.evaluate:") :]
    assert (status, printed.count("tfjc.evaluate:"), row) == (2, 1, None), printed
    assert MISTAKES[case][1] in message and "Traceback" not in printed and len(message) < 700, message


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


def test_sizes_and_channels(tmp_path):
    """Grey and colour meet without loss; a size of one's own brings both folders there."""
    grey = datasets.Dataset("grey", PHOTOS[..., :1])
    tripled = np.repeat(SAMPLES[..., :1], 3, axis=-1)
    z = given.indices(SAMPLES)
    np.testing.assert_array_equal(given.look_up(tripled, grey)(z), SAMPLES[..., :1])
    colour = datasets.Dataset("colour", PHOTOS)
    np.testing.assert_array_equal(given.look_up(SAMPLES[..., :1], colour)(z[3:5]), tripled[3:5])
    put(tmp_path / "real", PHOTOS), put(tmp_path / "fake", SAMPLES[:, :6])
    (tmp_path / "fake" / "notes.txt").write_text("6 by 10 pixels")
    assert given.read(tmp_path / "fake").shape == (12, 6, 10, 3)
    assert given.read(tmp_path / "fake", (4, 5)).shape == (12, 4, 5, 3)
    assert given.reference(tmp_path / "real", [4, 5]).images.shape == (12, 4, 5, 3)
    np.testing.assert_array_equal(given.reference(tmp_path / "real").images, PHOTOS)


def test_labels_of_a_reference_are_its_folders(tmp_path):
    put(tmp_path / "real" / "a", PHOTOS[:3]), put(tmp_path / "real" / "b", PHOTOS[3:])
    np.testing.assert_array_equal(given.reference(tmp_path / "real").labels, [0] * 3 + [1] * 9)
    Image.fromarray(PHOTOS[0]).save(tmp_path / "real" / "stray.png")
    assert len(given.read(tmp_path / "real")) == 13  # classes do not matter to samples
