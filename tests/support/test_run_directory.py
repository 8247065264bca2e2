"""A run directory's files."""

import errno
import math
import os
import re
import resource
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

from tfjc.support.files import append_line, is_score, replacing, write_text
from tfjc.support.run_directory import RunDirectory, lock


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "a" / "b").create()


def test_metrics_go_round(run):
    rows = [{"step": 0, "x": math.inf, "per_z": [1.0, 2.0]}, {"step": 5, "x": -0.1}]
    for row in rows:
        run.append_metrics(row)
    assert run.read_metrics() == rows


def test_a_line_cut_off_by_a_kill_is_left_out(run):
    run.append_metrics({"step": 0})
    with open(run.metrics, "a") as stream:
        stream.write('{"step": 5, "seco')
    assert run.read_metrics() == [{"step": 0}]
    run.drop_after(9)
    run.append_metrics({"step": 5})
    assert run.read_metrics() == [{"step": 0}, {"step": 5}]


def test_rows_past_a_checkpoint_are_dropped(run):
    for step in (0, 5, 10):
        run.append_metrics({"step": step})
    run.drop_after(5)
    assert [row["step"] for row in run.read_metrics()] == [0, 5]


def test_run_json_keeps_what_is_not_set_anew(run):
    assert run.read_run() == {}
    run.update_run(seed=3, status="running")
    run.update_run(status="finished")
    assert run.read_run() == {"seed": 3, "status": "finished"}


def test_a_damaged_run_json_is_named(run):
    run.run.write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        run.read_run()


def test_a_write_that_fails_leaves_the_old_file(run):
    path = run.path / "config.gin"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in run.path.iterdir()] == ["config.gin"]


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file/run cannot be made: Not a directory"):
        RunDirectory(tmp_path / "file" / "run").create()


def test_scores_are_told_from_weights():
    keys = [
        "fid/inception/1000",
        "weights/critic/conv_1/sigma_max",
        "critic_loss",
        "memorised_classifier_score/digits/360",
    ]
    assert [is_score(key) for key in keys] == [True, False, False, True]


def test_a_line_is_added_after_whole_lines_alone(run):
    append_line(run.scores, {"a": 1})
    with open(run.scores, "ab") as stream:
        stream.write(b'{"b": ' + b"9" * 10_000)  # longer than what is read at once
    append_line(run.scores, {"c": 3})
    assert run.scores.read_text() == '{"a": 1}\n{"c": 3}\n'


def test_a_line_that_does_not_fit_on_the_disk_leaves_none_of_itself(run, monkeypatch):
    run.append_metrics({"step": 0})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*metrics\.jsonl'"):
        run.append_metrics({"step": 5})
    with pytest.raises(OSError, match=r"No space left on device: '.*run\.json'"):
        run.update_run(status="running")
    assert run.metrics.read_text() == '{"step": 0}\n'
    assert [path.name for path in run.path.iterdir()] == ["metrics.jsonl"]


def test_damaged_lines_are_named(run):
    run.metrics.write_text('{"step": 0}\n\0\0\0\n{"step": 5}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged in line 2"):
        run.read_metrics()


def test_pictures_past_a_checkpoint_are_dropped_and_half_written_files_swept(run):
    (run.path / "samples").mkdir()
    (run.path / "checkpoints" / "ckpt-7_temp").mkdir(parents=True)
    names = [*(f"samples/step_{step:08d}.png" for step in (0, 5, 10)), ".run.json.12.tmp", "samples/.a.png.12.tmp"]
    for name in [*names, "checkpoints/ckpt-7_temp/part-0", ".keep"]:
        (run.path / name).write_text("")
    run.sweep()
    run.drop_after(5)
    left = sorted(path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file())
    assert left == [".keep", "metrics.jsonl", "samples/step_00000000.png", "samples/step_00000005.png"]
    run.drop_after(-1)  # a run that begins anew at step 0 has drawn that step's picture already
    assert [path.name for path in run.samples.iterdir()] == ["step_00000000.png"]


HOLDER = """import sys, time
from tfjc.support.run_directory import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(99)
"""


def test_one_process_at_a_time_and_a_dead_ones_lock_is_stale(run, caplog):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, run.path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        owner = rf"process {holder.pid} on {re.escape(socket.gethostname())} since 20\d\d-\d\d-\d\dT\S+"
        with pytest.raises(ValueError, match=rf"b is in use by {owner}; wait for its end"), lock(run.path):
            pass
        holder.kill()
        holder.wait()
        with lock(run.path):
            assert re.search(rf"{owner} ended without releasing .*: its lock is stale", caplog.text)
            with pytest.raises(ValueError, match=f"in use by process {os.getpid()} "), lock(run.path):
                pass
    caplog.clear()
    with lock(run.path):
        assert not caplog.text


def test_a_line_that_the_disk_has_no_room_for_leaves_the_file_as_it_was(tmp_path):
    """With a limit on the size of files in the place of a disk's: what a buffer holds is not written at the end."""
    path = tmp_path / "lines.jsonl"
    append_line(path, {"step": 0})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            append_line(path, {"step": 1, "text": "y" * 10_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    append_line(path, {"step": 2})
    assert path.read_text().count("\n") == 2


def test_where_the_system_has_no_locks_a_warning_says_so(run, caplog, monkeypatch):
    """As on Windows, which has no fcntl."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with lock(run.path):
        assert "cannot be locked on this system: let no other process write there" in caplog.text
