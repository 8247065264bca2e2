"""Datasets by name, their checks, and the order of batches."""

import numpy as np
import pytest
from PIL import Image

from tfjc import datasets


def positions(count, batch, steps, **options):
    """The indices that `batches` takes, flattened."""
    images = np.arange(count, dtype=np.uint8)[:, None]
    return np.concatenate([b.numpy().ravel() for b in datasets.batches(images, batch, **options).take(steps)])


def test_every_epoch_is_a_permutation():
    taken = positions(30, 7, 30, seed=3)  # 210 positions: 7 epochs, whose borders fall inside batches
    epochs = taken.reshape(7, 30)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(30))
    assert len({tuple(epoch) for epoch in epochs}) == 7


def test_batches_are_a_function_of_seed_and_step():
    whole = positions(30, 7, 20, seed=3)
    np.testing.assert_array_equal(positions(30, 7, 5, seed=3, start=15), whole[105:])
    assert not np.array_equal(positions(30, 7, 20, seed=4), whole)


@pytest.mark.parametrize("count", [5, 30, 211])
def test_permutations_are_fair(count):
    """Over 400 epochs: each image comes first equally often (χ²/dof ≈ 1), a permutation has one fixed point, and one
    image is followed by its neighbour, on average; bounds of about five standard deviations."""
    epochs = positions(count, count, 400, seed=0).reshape(400, count)
    expected = 400 / count
    chi_square = np.sum((np.bincount(epochs[:, 0], minlength=count) - expected) ** 2 / expected)
    assert chi_square / (count - 1) < 1 + 5 * np.sqrt(2 / (count - 1))
    assert np.mean(np.sum(epochs == np.arange(count), axis=1)) == pytest.approx(1.0, abs=0.25)
    assert np.mean(np.sum(np.diff(epochs, axis=1) == 1, axis=1)) == pytest.approx(1 - 1 / count, abs=0.25)


def test_images_stay_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, [10, 4, 4, 3]).astype(np.uint8)
    (batch,) = datasets.batches(images, 10, seed=0).take(1)
    assert batch.dtype == "uint8"
    np.testing.assert_array_equal(np.sort(batch, axis=0), np.sort(images, axis=0))


def test_digits_are_scikit_learns():
    data = datasets.load("digits")
    assert (data.images.shape, data.images.dtype, data.image_shape) == ((1797, 28, 28, 1), np.uint8, (28, 28, 1))
    assert (data.images.min(), data.images.max()) == (0, 255)
    np.testing.assert_array_equal(np.bincount(data.labels), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert datasets.load("digits", size=8).images.shape == (1797, 8, 8, 1)


@pytest.mark.parametrize(
    "name, centres", [("gaussian_ring", datasets.ring_centres()), ("gaussian_grid", datasets.grid_centres())]
)
def test_gaussians_lie_about_their_centres(name, centres):
    """Each mode's mean within 5 standard errors of its centre, its deviation within 15 % of 0.02."""
    data = datasets.load(name)
    assert (data.images.shape, data.images.dtype) == ((10_000, 2), np.float32)
    for mode, centre in enumerate(centres):
        points = data.images[data.labels == mode]
        assert np.abs(points.mean(0) - centre).max() < 5 * 0.02 / np.sqrt(len(points))
        np.testing.assert_allclose(points.std(0), 0.02, rtol=0.15)


def test_centres():
    np.testing.assert_allclose(np.linalg.norm(datasets.ring_centres(), axis=1), 0.8)
    assert len(np.unique(datasets.grid_centres().round(9), axis=0)) == 25


@pytest.mark.parametrize(
    "name, shape, first_labels",
    # The first labels of the prepared files, and so of every reader that keeps their order.
    [("mnist", (60_000, 28, 28, 1), [4, 1, 0, 7, 8]), ("cifar10", (50_000, 32, 32, 3), [7, 8, 4, 4, 6])],
)
def test_prepared_data_are_read_as_they_are(prepared_data, name, shape, first_labels):
    data = datasets.load(name, data_dir=str(prepared_data))
    assert (data.images.shape, data.images.dtype) == (shape, np.uint8)
    assert len(np.unique(data.labels)) == 10
    assert data.labels[:5].tolist() == first_labels


def test_another_size_and_split(prepared_data):
    data = datasets.load("cifar10", split="test[:10]", size=16, data_dir=str(prepared_data))
    whole = datasets.load("cifar10", split="test[:10]", data_dir=str(prepared_data))
    assert data.images.shape == (10, 16, 16, 3)
    np.testing.assert_allclose(data.images.mean((1, 2, 3)), whole.images.mean((1, 2, 3)), atol=2)


def test_official_archives_replace_the_network(tmp_path, mnist_archives, monkeypatch):
    """Of the 60,000 training digits, which are not looked at, 1,000 are prepared."""
    monkeypatch.setattr("tensorflow_datasets.image_classification.mnist._TRAIN_EXAMPLES", 1000)
    data = datasets.load("mnist", split="test", data_dir=str(tmp_path), manual_dir=str(mnist_archives))
    # MNIST's own counts of test digits 0 to 9.
    np.testing.assert_array_equal(np.bincount(data.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])


@pytest.fixture
def folder(tmp_path):
    """Two classes of two pictures, of other sizes, modes and formats."""
    for index, name in enumerate(["b/1.png", "a/1.jpg", "a/2.png", "b/2.png"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        mode = "L" if index == 3 else "RGB"
        Image.new(mode, (30 + index, 20), 60 * index if mode == "L" else (60 * index, 0, 0)).save(path)
    return tmp_path


def test_image_folder(folder):
    data = datasets.load("image_folder", folder=str(folder), size=12)
    assert (data.images.shape, data.images.dtype) == ((4, 12, 12, 3), np.uint8)
    np.testing.assert_array_equal(data.labels, [0, 0, 1, 1])
    np.testing.assert_allclose(data.images[:, 6, 6, 0], [60, 120, 0, 180], atol=2)  # a/1, a/2, b/1, b/2
    assert datasets.load("image_folder", folder=str(folder / "a"), size=12).labels is None


def test_a_corrupt_picture_is_named(folder):
    (folder / "a" / "3.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"a/3\.png cannot be read as an image"):
        datasets.load("image_folder", folder=str(folder))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        datasets.load("image_folder", folder=str(tmp_path))


def test_an_unknown_split_lists_the_valid_ones(prepared_data):
    with pytest.raises(ValueError, match=r"has the splits (test, train|train, test) and slices of them, found .trian."):
        datasets.load("mnist", split="trian", data_dir=str(prepared_data))


def flipped(content):
    return content[:500] + bytes([content[500] ^ 255]) + content[501:]


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("mnist-test.tfrecord-00000-of-00001", lambda content: content[:100_000], "truncated|expected 10000 images"),
        ("mnist-test.tfrecord-00000-of-00001", flipped, "corrupted record"),
        ("mnist-test.tfrecord-00000-of-00001", lambda content: b"", "contained only 0 elements"),
        ("mnist-test.tfrecord-00000-of-00001", lambda content: bytes(2000), "corrupted record"),
        ("mnist-test.tfrecord-00000-of-00001", lambda content: b"garbage " * 200, "corrupted record"),
        ("mnist-test.tfrecord-00000-of-00001", None, "No such file|not found|Could not find"),
        ("dataset_info.json", lambda content: b"", "."),
        ("dataset_info.json", lambda content: content[: len(content) // 2], "."),
        ("dataset_info.json", lambda content: b"[]", "."),
    ],
)
def test_damaged_prepared_data_are_named(tmp_path, prepared_data, name, damage, message):
    whole, folder = prepared_data / "mnist" / "3.0.1", tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    for file in whole.iterdir():
        if file.name != name:
            (folder / file.name).symlink_to(file)
    if damage:
        (folder / name).write_bytes(damage((whole / name).read_bytes()))
    with pytest.raises(
        ValueError, match=rf"dataset 'mnist' in .*mnist.* is damaged: .*({message}).*Remove that folder"
    ):
        datasets.load("mnist", split="test", data_dir=str(tmp_path))


@pytest.mark.parametrize("manual", [False, True])
def test_without_network_and_files_both_ways_are_named(tmp_path, monkeypatch, manual):
    def no_address(*_):
        raise OSError("no address")

    monkeypatch.setattr("socket.getaddrinfo", no_address)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(ValueError) as caught:
        datasets.load("stl10", data_dir=str(tmp_path), manual_dir=str(tmp_path) if manual else None)
    for part in ("--data_dir=DIR", "--manual_dir=DIR", "stl10_binary.tar.gz", "digits_jc.gin", "no network"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros([0, 4, 4, 1]), "N ≥ 1"),
        (np.zeros(5), r"must have shape \[N, ...\]"),
        (np.full([2, 4], 7, np.int64), "must be uint8, or floats"),
        (np.full([2, 4], 1.5), r"must lie in \[-1, 1\], found \[1.5, 1.5\]"),
        (np.array([[0.0, np.nan]]), "must lie in"),
    ],
)
def test_bad_images_are_named(images, message):
    with pytest.raises(ValueError, match=message):
        datasets.check_images(images)
