"""A study on a real Ray cluster of two nodes on this machine, one of which dies."""

import re
import signal
import socket
import sys
import time

import pytest
from processes import is_alive

from tfjc.study import _plan, _schedule

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=2) for _ in range(2)]
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


SCRIPT = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "starts", "a") as stream:
    stream.write(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}\\n")
while not (folder / ".." / ".." / "go").exists():
    time.sleep(0.05)
(folder / "run.json").write_text(json.dumps({"status": "diverged"}))
"""


def test_a_node_that_dies_costs_no_run(cluster, tmp_path, monkeypatch):
    """Four runs on two nodes; one node is killed while they wait; the runs that it had start again on the other."""
    from tfjc.study import _ray

    made, (first, _) = cluster
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(
        _plan, "command", lambda study, run, options: ["python", str(tmp_path / "script.py"), str(run.directory.path)]
    )
    study = _plan.make(arms={"a": ["x.gin"], "b": ["x.gin"]}, seeds=2)
    runs = _plan.StudyDirectory(tmp_path).list_runs(study)
    executor = _ray.Ray(cpus=1.0)
    assert executor.jobs == 4
    schedule = _schedule.Schedule(study, runs, executor, report=lambda message: None)
    deadline, killed = time.monotonic() + 180, False
    while schedule.advance() and time.monotonic() < deadline:
        started = [run for run in runs if (run.directory.path / "starts").exists()]
        if len(started) == 4 and not killed:
            made.remove_node(first, allow_graceful=False)
            killed = True
        if killed and sum(is_alive(int(line.split()[0])) for run in runs for line in _starts(run)) <= 2:
            (tmp_path / "runs" / "go").touch()  # what ran on the dead node is dead too
    assert killed and len(schedule.over) == 4 and not schedule.failed
    starts = [_starts(run) for run in runs]
    assert sorted(map(len, starts)) == [1, 1, 2, 2]
    assert {line.split()[1] for lines in starts for line in lines} == {"1"}  # threads


def _starts(run):
    path = run.directory.path / "starts"
    return path.read_text().splitlines() if path.exists() else []


def test_ctrl_c_reaches_the_runs_and_waits_for_their_last_records(cluster, tmp_path, monkeypatch):
    from tfjc.study import _ray

    (tmp_path / "a.log").write_text("")
    script = """if True:
        import pathlib, signal, sys, time
        def end(*_):
            time.sleep(0.5)
            pathlib.Path("ended").write_text("")
            sys.exit(143)
        signal.signal(signal.SIGTERM, end)
        pathlib.Path("began").write_text("")
        time.sleep(100)
    """
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    executor = _ray.Ray()
    assert signal.getsignal(signal.SIGTERM) == handler  # Ray has one that ends the process
    executor.start("a", [sys.executable, "-c", script], tmp_path / "a.log")
    wait_for(tmp_path / "began")
    began = time.monotonic()
    executor.interrupt()
    assert (tmp_path / "ended").exists() and time.monotonic() - began < 20


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(executor):
    while not (found := executor.poll()):
        pass
    return found


def test_what_a_node_lacks_is_named(cluster, tmp_path, monkeypatch):
    """Its current folder, the study's folder, the program."""
    from tfjc.study import _ray

    executor = _ray.Ray()
    executor.start("log", [sys.executable, "-c", ""], tmp_path / "gone" / "a.log")
    why = f"{socket.gethostname()} has no folder {tmp_path / 'gone'}: all nodes must share it"
    assert ended(executor) == {"log": (1, why)}
    executor.start("program", ["/no/python"], tmp_path / "a.log")
    assert re.search(r"its task failed: .*No such file or directory: '/no/python'", ended(executor)["program"].why)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    executor.start("folder", [sys.executable, "-c", "print(3)"], tmp_path / "a.log")
    assert ended(executor) == {"folder": (0, "")}
    assert (tmp_path / "a.log").read_text() == "3\n"


def test_what_does_not_fit_is_refused(cluster):
    from tfjc.study import _ray

    with pytest.raises(ValueError, match="no run fits into the cluster: it needs 1"):
        _ray.Ray(gpus=1.0)
