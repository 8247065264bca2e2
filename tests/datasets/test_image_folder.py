"""Folders of images as people have them: what is an image, which class it has, and what its pixels are."""

import os
import struct
import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageOps

from tfjc import datasets
from tfjc.datasets import image_folder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
RAMP = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.fixture
def put(tmp_path):
    """Saves an image, of one colour if it is not given, under a name in the folder."""

    def save(name, image=RED, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (8, 8), image) if isinstance(image, tuple) else image
        image.save(path, **options)
        return path

    return save


def load(folder, size=8):
    return image_folder.load(os.fspath(folder), size)


def only(folder, size=8):
    """The only image of a folder."""
    images, labels = load(folder, size)
    assert (len(images), labels, images.dtype) == (1, None, np.uint8)
    return images[0]


def refusal(folder):
    """The message that a folder is refused with: one line."""
    with pytest.raises(ValueError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- pixels


def test_eight_bits_are_pillows_own(put, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3)).astype(np.uint8)
    path = put("a.png", Image.fromarray(pixels))
    expected = ImageOps.fit(Image.open(path).convert("RGB"), (8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(only(tmp_path), expected)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm", "jp2"])
def test_sixteen_bits_keep_their_scale(ending, put, tmp_path):
    """v·255/65535, rounded once."""
    put(f"a.{ending}", Image.fromarray(RAMP))
    found = only(tmp_path, 32)
    np.testing.assert_array_equal(found, np.repeat(np.round(RAMP / 257.0)[..., None], 3, axis=-1))
    assert np.abs(only(tmp_path, 16)[8, :, 1] - RAMP.reshape(32, 16, 2).mean(axis=(0, 2)) / 257.0).max() < 2


def test_sixteen_bits_of_the_other_byte_order(put, tmp_path):
    put("a.tif", Image.frombytes("I;16B", (32, 32), RAMP.astype(">u2").tobytes()))
    np.testing.assert_array_equal(only(tmp_path, 32)[..., 0], np.round(RAMP / 257.0))


def tiff(bits, data, width):
    """A TIFF of one grey row."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(data))]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4


@pytest.mark.parametrize("value", [4095, 2048])
def test_twelve_bits_are_not_taken_for_sixteen(value, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(12, bytes([value >> 4, value % 16 << 4 | value >> 8, value % 256]), 2))
    np.testing.assert_array_equal(only(tmp_path, 1), np.full([1, 1, 3], round(value * 255 / 4095)))


def test_one_bit_is_black_and_white(put, tmp_path):
    put("a.png", Image.fromarray(np.eye(8, dtype=bool)))
    np.testing.assert_array_equal(only(tmp_path)[..., 2], 255 * np.eye(8))


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_inks_become_colours(ending, put, tmp_path):
    put(f"a.{ending}", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    np.testing.assert_allclose(only(tmp_path)[4, 4], RED, atol=2)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", TURNS)
def test_images_stand_upright(ending, orientation, put, tmp_path):
    """As Pillow's transposition by name says; 6: a red left half comes to the top."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32, 0], pixels[:16, 40:48, 1] = 255, 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x112] = orientation
    put(f"a.{ending}", image, exif=exif)
    found = only(tmp_path, 32).astype(float)
    expected = ImageOps.fit(image.transpose(TURNS[orientation]), (32, 32), Image.Resampling.LANCZOS)
    assert np.abs(found - expected).mean() < 12  # JPEG and WebP blur edges; another turn is off by 40 or more
    if orientation == 6:
        assert found[4, :, 0].mean() > 240 and found[-4, :, 0].mean() < 15


@pytest.mark.parametrize(
    "image, options, expected",
    [
        (Image.new("RGBA", (8, 8), (255, 0, 255, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (255, 0, 255, 255)), {}, (255, 0, 255)),
        (Image.new("RGBA", (8, 8), (100, 0, 0, 51)), {}, (224, 204, 204)),  # a fifth of it: 0.2·v + 0.8·255
        (Image.new("LA", (8, 8), (0, 51)), {}, (204, 204, 204)),
        (Image.new("RGB", (8, 8), RED).quantize(2), {"transparency": 0}, (255, 255, 255)),
        (Image.new("RGB", (8, 8), RED).quantize(2), {"transparency": 1}, RED),
        (Image.new("RGB", (8, 8), (10, 20, 30)), {"transparency": (10, 20, 30)}, (255, 255, 255)),
        (Image.new("I;16", (8, 8), 600), {"transparency": 600}, (255, 255, 255)),
    ],
)
def test_what_is_transparent_shows_white(image, options, expected, put, tmp_path):
    put("a.png", image, **options)
    np.testing.assert_array_equal(only(tmp_path), np.broadcast_to(expected, (8, 8, 3)))


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_the_first_frame_is_taken(ending, put, tmp_path):
    put(f"a.{ending}", Image.new("RGB", (8, 8), RED), save_all=True, append_images=[Image.new("RGB", (8, 8), GREEN)])
    np.testing.assert_allclose(only(tmp_path)[4, 4], RED, atol=2)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_range_are_refused(mode, put, tmp_path):
    path = put("a.tif", Image.new(mode, (8, 8)))
    assert refusal(tmp_path) == (
        f"{path} cannot be read as an image: pixels of 32 bits (mode '{mode}') have no known range; "
        "save it with 8 or 16 bits"
    )


def test_a_tiff_whose_zero_is_white_is_refused(put, tmp_path):
    put("a.tif", Image.fromarray(RAMP), tiffinfo={262: 0})
    assert "in which 0 is white" in refusal(tmp_path)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp", "tif", "bmp"])
@pytest.mark.parametrize("part", [0.0, 0.05, 0.6])
def test_a_file_cut_short_is_named(ending, part, put, tmp_path):
    path = put(
        f"b/a.{ending}", Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8))
    )
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert refusal(tmp_path).startswith(f"{path} cannot be read as an image: ")


def test_a_size_of_two_numbers_is_height_and_width(put, tmp_path):
    """A picture of 12 by 24 pixels keeps its middle half; without a size everything is kept as it is."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 24, 3)).astype(np.uint8)
    put("a.png", Image.fromarray(pixels))
    np.testing.assert_array_equal(only(tmp_path, (12, 12)), pixels[:, 6:18])
    np.testing.assert_array_equal(image_folder.read(tmp_path)[0][0], pixels)
    data = datasets.load("image_folder", folder=tmp_path, size=[6, 12])
    expected = Image.fromarray(pixels).resize((12, 6), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(data.images[0], expected)


# ---- files and classes


def test_dot_names_are_left_out(put, tmp_path):
    """What Jupyter and macOS leave: neither classes nor images."""
    put("cats/a.png"), put("dogs/a.png", GREEN)
    put(".ipynb_checkpoints/a.png"), put("cats/.cache/b.png"), put(".a.png")
    for name in ("cats/._a.jpg", "dogs/.DS_Store", "._dogs"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._a.png").write_bytes(b"\0\5\26\7")
    images, labels = load(tmp_path)
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(images[:, 0, 0], [RED, GREEN])


def test_a_folder_with_a_dot_in_its_own_path(put, tmp_path):
    put(".data/a/1.png"), put(".data/b/1.png", GREEN)
    np.testing.assert_array_equal(load(tmp_path / ".data")[1], [0, 1])


def test_links_are_followed(put, tmp_path):
    """Of a class, of a file, of the whole folder."""
    put("links/cats/a.png"), put("elsewhere/a.png", GREEN), put("elsewhere/b.png", BLUE)
    (tmp_path / "links" / "dogs").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "links" / "cats" / "b.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "whole").symlink_to("links", target_is_directory=True)
    for folder in ("links", "whole"):
        images, labels = load(tmp_path / folder)
        np.testing.assert_array_equal(labels, [0, 0, 1, 1])
        np.testing.assert_array_equal(images[:, 0, 0], [RED, BLUE, GREEN, BLUE])


def test_links_that_go_round_end(put, tmp_path):
    put("cats/a.png"), put("dogs/a.png", GREEN)
    (tmp_path / "cats" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dogs" / "self").symlink_to(tmp_path / "dogs", target_is_directory=True)
    (tmp_path / "dogs" / "c.txt").symlink_to("c.txt")
    np.testing.assert_array_equal(load(tmp_path)[1], [0, 1])


def test_a_class_that_links_to_nothing_is_named(put, tmp_path):
    put("cats/a.png"), put("owls/a.png")
    (tmp_path / "dogs").symlink_to(tmp_path / "moved away")
    assert refusal(tmp_path) == f"{str(tmp_path / 'dogs')!r} is a broken link: repair it or remove it"


def test_an_image_that_links_to_nothing_is_named(put, tmp_path):
    put("cats/a.png")
    (tmp_path / "cats" / "b.png").symlink_to("c.png")
    assert refusal(tmp_path).startswith(f"{tmp_path / 'cats' / 'b.png'} cannot be read as an image: ")


def test_an_image_beside_classes_is_refused(put, tmp_path):
    put("cats/a.png"), put("dogs/a.png"), put("p.png")
    assert refusal(tmp_path) == (
        f"folder {str(tmp_path)!r} holds 1 image(s) beside its classes (cats, dogs), such as 'p.png'; "
        "move them into a class, or, for a dataset without labels, everything into one folder"
    )
    (tmp_path / "all").mkdir()
    for name in ("cats", "dogs", "p.png"):
        (tmp_path / name).rename(tmp_path / "all" / name)
    assert (len(load(tmp_path)[0]), load(tmp_path)[1]) == (3, None)


def test_an_image_beside_one_folder_has_no_class_to_lose(put, tmp_path):
    put("more/a.png"), put("p.png")
    assert load(tmp_path)[1] is None


def test_other_files_are_left_out_and_endings_may_be_capitals(put, tmp_path):
    put("A/1.PNG"), put("A/1.JPG", GREEN), put("b/deep/er/2.Tiff", BLUE)
    for name in ("A/list.csv", "b/notes.txt", "labels.json", "b/1.npy"):
        (tmp_path / name).write_bytes(b"1,2,3")
    (tmp_path / "empty" / "er").mkdir(parents=True)
    (tmp_path / "c.png").mkdir()
    images, labels = load(tmp_path)
    np.testing.assert_array_equal(labels, [0, 0, 1])
    np.testing.assert_allclose(images[:, 4, 4], [GREEN, RED, BLUE], atol=2)


def test_an_image_that_pillow_cannot_read_is_not_left_out(put, tmp_path):
    put("cats/a.png"), put("dogs/a.png")
    (tmp_path / "owls").mkdir()
    (tmp_path / "owls" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert "a.heic cannot be read as an image" in refusal(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert refusal(tmp_path).endswith("it is not a regular file")


def test_classes_are_in_order_of_their_names_in_any_form_of_unicode(put, tmp_path):
    """Composed and decomposed names (macOS keeps the latter) sort alike: É comes after z, as its composed form does."""
    for index, form in enumerate(("NFC", "NFD")):
        for value, name in enumerate(("a", "z", "É")):
            put(f"{index}/{unicodedata.normalize(form, name)}/1.png", (value, 0, 0))
        images, labels = load(tmp_path / str(index))
        np.testing.assert_array_equal(labels, [0, 1, 2])
        np.testing.assert_array_equal(images[:, 0, 0, 0], [0, 1, 2])


def test_a_folder_that_holds_nothing_but_dot_names(put, tmp_path):
    put(".thumbnails/a.png")
    assert "holds no image" in refusal(tmp_path)
