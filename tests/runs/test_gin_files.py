"""Gin files of every kind train: two steps of tiny networks."""

import re

import gin
import pytest
from short_runs import train

from tfjc.runs import configuration
from tfjc.support import gin_files

FILES = sorted(path.stem for path in gin_files.directory().glob("*.gin"))


# The run below has its own data and no scores.
REPLACED = ("dataset.", "train_and_evaluate.scores", "train_and_evaluate.score_samples")


def kind(name):
    """The bindings of a file that say what is built and how it is trained, without numbers."""
    configuration.parse([name], [])
    lines = gin.config_str(max_line_length=1000).splitlines()
    lines = [line for line in lines if line and not line.startswith(("#", *REPLACED))]
    return "\n".join(sorted(re.sub(r"(?<![\w.])-?\d[\d.e+-]*", "0", line) for line in lines))


def is_embedded(name):
    """Whether the data of a file need no download."""
    return name.startswith(("digits", "gaussian"))


KINDS = {}
for _name in sorted(FILES, key=is_embedded, reverse=True):
    KINDS.setdefault(kind(_name), []).append(_name)
# One of each kind; test_configuration.py has what a clamped file adds to its twin.
TRAINED = [names[0] for names in KINDS.values() if not names[0].endswith("_jc")]


def test_every_file_trains_or_is_like_one_that_does():
    """A clamped file is of the kind of its twin, but for the clamp's bindings."""
    for name in FILES:
        plain = name.removesuffix("_jc")
        assert any(plain in names and names[0] in TRAINED for names in KINDS.values()), name
    assert {"digits", "gaussian_ring", "cifar10_sngan", "mnist_collapsing"} <= set(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_a_gin_file_of_every_kind_trains(name, tmp_path, unexported, untraced):
    """Two steps of it, on digits where its own data are not embedded."""
    data = [] if is_embedded(name) else ["dataset.name = 'digits'", "Memoriser.pairs = 2000"]
    data += ["dataset.size = 32"] * name.startswith("cifar10")
    data += ["train_and_evaluate.eval_latents = 1"]
    data += [f"{architecture}.n_z = 2" for architecture in ("dcgan", "sngan_cnn", "sngan_resnet", "wgangp_resnet")]
    data += ["GAN.d_steps = 2"] * (name == "digits_wgangp") + ["GAN.d_steps = 1"] * (not is_embedded(name))
    run = train(tmp_path / "run", "train_and_evaluate.steps = 2", *data, gin_file=name)
    rows = run.read_metrics()
    assert [row["step"] for row in rows] == [0, 2]
    measured = [any(key.startswith("weights/critic/conv_1/") for key in row) for row in rows]
    assert measured == [name.endswith(("sngan", "sngan_cnn", "pcgan", "pcgan_adaptive")), False]  # every 1,000 steps
    levels = {value for key, value in rows[0].items() if key.endswith("/level")}
    assert bool(levels) == name.startswith("cifar10_pcgan")


def test_the_gallery_has_every_file():
    """By name; a clamped one by its twin's, where it does what that does."""
    page = (gin_files.directory().parent / "docs" / "gallery.md").read_text()
    assert [name for name in FILES if name.removesuffix("_jc") not in page] == []
