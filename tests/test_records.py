"""A run directory's files."""

import math

import pytest

from tfjc import records


@pytest.fixture
def run(tmp_path):
    return records.RunDirectory(tmp_path / "a" / "b").create()


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
    run.drop_metrics_after(9)
    run.append_metrics({"step": 5})
    assert run.read_metrics() == [{"step": 0}, {"step": 5}]


def test_rows_past_a_checkpoint_are_dropped(run):
    for step in (0, 5, 10):
        run.append_metrics({"step": step})
    run.drop_metrics_after(5)
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
    records.write_text(path, "old")
    with pytest.raises(RuntimeError), records.replacing(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in run.path.iterdir()] == ["config.gin"]


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file/run cannot be made: Not a directory"):
        records.RunDirectory(tmp_path / "file" / "run").create()


def test_scores_are_told_from_weights():
    keys = [
        "fid/inception/1000",
        "weights/critic/conv_1/sigma_max",
        "critic_loss",
        "memorised_classifier_score/digits/360",
    ]
    assert [records.is_score(key) for key in keys] == [True, False, False, True]
