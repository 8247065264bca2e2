"""Checkpoints: whole or not at all, and found again whatever became of the newest."""

import errno
import hashlib
import os

import pytest
import tensorflow as tf

from tfjc.saving import checkpoints

DATA = "ckpt-3.data-00000-of-00001"


class Weights(tf.Module):
    """Two tensors that say of which step they are."""

    def __init__(self):
        super().__init__()
        self.a, self.b = tf.Variable(tf.zeros([100])), tf.Variable(0)

    def at(self, step):
        self.a.assign(tf.fill([100], float(step)))
        self.b.assign(step)
        return tf.train.Checkpoint(model=self)


@pytest.fixture
def directory(tmp_path):
    """A directory with the checkpoints of steps 1, 2 and 3."""
    for step in (1, 2, 3):
        checkpoints.write(Weights().at(step), tmp_path / "c", step)
    return tmp_path / "c"


def restored(directory, step):
    weights = Weights()
    tf.train.Checkpoint(model=weights).restore(checkpoints.path(directory, step)).assert_consumed()
    return float(weights.a[99]), int(weights.b)


def flipped(name, position):
    def damage(directory):
        content = bytearray((directory / name).read_bytes())
        content[position] ^= 1
        (directory / name).write_bytes(content)

    return damage


def cut(name, length):
    return lambda directory: os.truncate(directory / name, length)


def gone(name):
    return lambda directory: (directory / name).unlink()


def test_checksums_are_what_sha256sum_checks(directory):
    files = [directory / DATA, directory / "ckpt-3.index"]
    expected = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
    assert (directory / "ckpt-3.sha256").read_text().splitlines() == expected
    assert checkpoints.steps(directory) == [1, 2, 3]
    assert checkpoints.find(directory) == (3, {})
    assert tf.train.latest_checkpoint(str(directory)) == checkpoints.path(directory, 3)
    assert sorted(path.name for path in directory.iterdir())[0] == "checkpoint"
    assert len(list(directory.iterdir())) == 10  # three files each, and TensorFlow's note


@pytest.mark.parametrize(
    "damage, message",
    [
        (cut(DATA, 100), f"{DATA} does not match its SHA-256"),
        (cut(DATA, 0), f"{DATA} does not match its SHA-256"),
        (flipped(DATA, 17), f"{DATA} does not match its SHA-256"),
        (flipped("ckpt-3.index", -1), "ckpt-3.index does not match its SHA-256"),
        (gone(DATA), f"{DATA} is missing"),
        (gone("ckpt-3.index"), "ckpt-3.index is missing"),
        (cut("ckpt-3.sha256", 0), "ckpt-3.sha256 is damaged"),
        (cut("ckpt-3.sha256", 70), "ckpt-3.sha256 is damaged"),
    ],
)
def test_the_one_before_a_damaged_checkpoint_is_used(directory, damage, message, caplog):
    damage(directory)
    assert checkpoints.find(directory) == (2, {3: message})
    assert message in caplog.text and "ckpt-2" in caplog.text
    assert restored(directory, 2) == (2.0, 2)


@pytest.mark.parametrize("state", [None, "", "\0" * 50, 'model_checkpoint_path: "ckpt-9"\n'])
def test_tensorflows_note_of_the_newest_is_not_needed(directory, state, caplog):
    (directory / "checkpoint").unlink()
    if state is not None:
        (directory / "checkpoint").write_text(state)
    assert checkpoints.find(directory) == (3, {})
    assert not caplog.text


@pytest.mark.parametrize("damage", [cut(DATA, 100), flipped(DATA, 17), flipped("ckpt-3.index", 20), gone(DATA)])
def test_checkpoints_without_checksums_are_read_through(directory, damage):
    """As a process leaves them that is killed between a checkpoint and its checksums."""
    for step in (1, 2, 3):
        (directory / f"ckpt-{step}.sha256").unlink()
    assert checkpoints.find(directory) == (3, {})
    damage(directory)
    step, damaged = checkpoints.find(directory)
    assert step == 2
    assert damaged[3].startswith("cannot be read: ")


def test_where_none_is_intact_that_is_said(directory, tmp_path):
    for step in (1, 2, 3):
        gone(f"ckpt-{step}.index")(directory)
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be used \(ckpt-3: ckpt-3\.index is missing; "):
        checkpoints.find(directory)
    assert checkpoints.newest(directory)[0] is None
    assert checkpoints.find(tmp_path) == (None, {})


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
def test_a_disk_that_fills_up_leaves_the_checkpoints_before(directory, monkeypatch, calls):
    """At whichever fsync it happens: of the data, the index, the seal or the note."""
    fsync, seen = os.fsync, []

    def full(descriptor):
        seen.append(descriptor)
        if len(seen) == calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        checkpoints.write(Weights().at(4), directory, 4)
    assert checkpoints.find(directory) == (3, {})
    assert not list(directory.glob("*4*"))
    assert restored(directory, 3) == (3.0, 3)
