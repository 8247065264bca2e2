"""A run directory's files."""

import concurrent.futures
import errno
import json
import math
import os
import re
import resource
import socket
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from tfjc.support.files import append_line, is_score, replacing, write_text
from tfjc.support.run_directory import RunDirectory, lock


def row(step, **more):
    """What every line of `metrics.jsonl` has."""
    return {"step": step, "seconds": 0.5 * step, "mean_log_condition": 1.5, "log_condition": [1.0, 2.0], **more}


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "a" / "b").create()


def test_metrics_go_round(run):
    rows = [row(0, x=math.inf, per_z=[1.0, 2.0]), row(5, x=-0.1)]
    for each in rows:
        run.append_metrics(each)
    assert run.read_metrics() == rows


def test_a_line_cut_off_by_a_kill_is_left_out(run):
    run.append_metrics(row(0))
    with open(run.metrics, "a") as stream:
        stream.write('{"step": 5, "seco')
    assert run.read_metrics() == [row(0)]
    run.drop_after(9)
    run.append_metrics(row(5))
    assert run.read_metrics() == [row(0), row(5)]


def test_rows_past_a_checkpoint_are_dropped(run):
    for step in (0, 5, 10):
        run.append_metrics(row(step))
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


def test_text_of_somebody_else_is_not_cut(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("Chapter 1\nIt was a dark")
    with pytest.raises(ValueError, match=r"thesis\.txt ends in text that is no line of JSON: nothing was added"):
        append_line(path, {"a": 1})
    assert path.read_text() == "Chapter 1\nIt was a dark"
    path.write_bytes(b'{"a": 1}\n\0\0\0')  # what a power cut leaves
    append_line(path, {"a": 2})
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n'


def test_no_line_is_lost_where_several_write_at_once(tmp_path):
    """Four threads, each with files of its own as processes have them. The file begins with half a line of a kill."""
    path = tmp_path / "lines.jsonl"
    path.write_text('{"half')

    def add(writer):
        for number in range(50):
            append_line(path, {"writer": writer, "number": number, "filler": "x" * 300})

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        list(executor.map(add, range(4)))
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((row["writer"], row["number"]) for row in found) == [(w, n) for w in range(4) for n in range(50)]


def test_a_line_that_does_not_fit_on_the_disk_leaves_none_of_itself(run, monkeypatch):
    run.append_metrics(row(0))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*metrics\.jsonl'"):
        run.append_metrics(row(5))
    with pytest.raises(OSError, match=r"No space left on device: '.*run\.json'"):
        run.update_run(status="running")
    assert run.read_metrics() == [row(0)]
    assert [path.name for path in run.path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    "line, message",
    [
        (b"\0\0\0", "Expecting value"),
        (b"[]", r"expected an object, found \[\]"),
        (b"{}", "expected a whole number 'step', found None"),
        (json.dumps(row(3) | {"step": "3"}).encode(), "expected a whole number 'step', found '3'"),
        (json.dumps(row(3) | {"step": True}).encode(), "expected a whole number 'step', found True"),
        (json.dumps(row(3)).replace("seconds", "secunds").encode(), "expected a number 'seconds', found None"),
        (json.dumps(row(3) | {"log_condition": 3}).encode(), "expected a list 'log_condition', found 3"),
        (json.dumps(row(3)).encode().replace(b"mean", b"me\xe1n"), "codec can't decode byte 0xe1"),
    ],
)
def test_damaged_lines_are_named(run, line, message):
    run.append_metrics(row(0))
    with open(run.metrics, "ab") as stream:
        stream.write(line + b"\n")
    with pytest.raises(ValueError, match=rf"metrics\.jsonl is damaged in line 2: .*{message}"):
        run.read_metrics()


def spectra_of(run, steps):
    for step in steps:
        run.write_spectrum(step, np.eye(2) + step, np.full([2, 2], step), np.full([2], -step))


def test_spectra_go_round_one_file_an_evaluation(run):
    assert run.read_spectra()["steps"].tolist() == []
    spectra_of(run, (0, 10, 5))
    found = run.read_spectra()
    assert found["steps"].tolist() == run.spectrum_steps() == [0, 5, 10]
    np.testing.assert_array_equal(found["singular_values"], np.full([3, 2, 2], 1.0) * found["steps"][:, None, None])
    np.testing.assert_array_equal(found["average_jacobian"], np.full([3, 2], -1.0) * found["steps"][:, None])
    np.testing.assert_array_equal(found["z"], np.eye(2) + 10)
    before = (run.spectra / "step_00000000.npz").stat().st_mtime_ns
    spectra_of(run, [15])
    assert (run.spectra / "step_00000000.npz").stat().st_mtime_ns == before  # a new one leaves the others alone
    run.drop_after(5)
    assert run.spectrum_steps() == [0, 5]


def test_a_damaged_spectrum_spoils_the_steps_from_its_own_on(run):
    spectra_of(run, (0, 5, 10))
    for step in (0, 5, 10):
        run.append_metrics(row(step))
    (run.spectra / "step_copy.npz").write_text("somebody's own file")
    assert run.lost() is run.missing(10) is None
    (run.spectra / "step_00000010.npz").write_bytes(b"PK")
    assert run.missing(5) is None
    assert re.search(r"spectra/step_00000010\.npz is damaged", run.missing(10))
    (run.spectra / "step_00000010.npz").unlink()
    assert run.lost() == "spectra lacks step 10"
    run.metrics.write_bytes(run.metrics.read_bytes()[:10])
    assert run.lost() == "metrics.jsonl lacks step 0"


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
        assert "cannot be locked (this system has no locks): let no other process write there" in caplog.text
