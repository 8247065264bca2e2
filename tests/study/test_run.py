"""Running a study: which runs are started, what becomes of those that fail, and that nothing is lost to kills."""

import collections
import csv
import os
import re
import signal
import subprocess
import sys
import time

import fabricated
import forks
import numpy as np
from conftest import ROOT
from processes import children, is_alive

from tfjc.study import _plan, _read, _report, _schedule
from tfjc.support.run_directory import RunDirectory, lock

ARMS = "study.arms = {'plain': ['gaussian_ring.gin'], 'wide': ['gaussian_ring.gin', 'mlp.width = 64']}"
BINDINGS = """study.bindings = [
    'train_and_evaluate.steps = {}', 'train_and_evaluate.eval_every = 50', 'train_and_evaluate.eval_latents = 4',
    'train_and_evaluate.scores = [(@MissingModes, 100)]', 'train_and_evaluate.score_samples = 100']"""


class Fake:
    """An executor whose commands end with what `outcomes` says for each run, in order, and write that status."""

    jobs = 2

    def __init__(self, outcomes):
        self.outcomes, self.started, self._running = outcomes, [], []

    def start(self, run, command, log):
        self.started.append(run.name)
        self._running.append(run)

    def poll(self):
        run = self._running.pop(0)
        outcome = self.outcomes.get(run.name, collections.deque(["finished"])).popleft()
        if isinstance(outcome, str):
            run.directory.create().update_run(status=outcome)
            fabricated.record(run, {"step": 0, "seconds": 0.0, "mean_log_condition": 1.0, "log_condition": [1.0]})
            outcome = 0
        return {run: _schedule.Ended(*outcome) if isinstance(outcome, tuple) else _schedule.Ended(outcome)}


def schedule(tmp_path, outcomes, **options):
    study = _plan.make(arms={"a": ["x.gin"], "b": ["x.gin"]}, seeds=2)
    executor = Fake({name: collections.deque(values) for name, values in outcomes.items()})
    said = []
    made = _schedule.Schedule(
        study, _plan.StudyDirectory(tmp_path).list_runs(study), executor, report=said.append, **options
    )
    while made.advance():
        assert len(made.running) <= executor.jobs
    return made, executor.started, said


def test_every_run_is_started_once(tmp_path):
    made, started, said = schedule(tmp_path, {})
    assert started == ["a/0", "b/0", "a/1", "b/1"]
    assert ([run.name for run in made.over], made.failed) == (started, {})
    assert said[-1] == "finished b/1, 4 of 4 over"
    assert schedule(tmp_path, {})[1] == []  # all are over


def test_what_fails_is_tried_again_and_then_given_up(tmp_path):
    made, started, said = schedule(tmp_path, {"a/0": [-9, 1, "finished"], "b/0": [1, 1, 1]}, retries=2)
    assert collections.Counter(started) == {"a/0": 3, "b/0": 3, "a/1": 1, "b/1": 1}
    assert {run.name: why for run, why in made.failed.items()} == {"b/0": "exit status 1"}
    assert "failed a/0 (killed by signal 9), to be tried again" in said
    assert [run.name for run in made.over] == ["a/0", "a/1", "b/1"]


def test_why_a_run_failed_is_told(tmp_path):
    """A log is named only where there is one."""
    outcomes = {"a/0": [0], "b/0": [(1, "host b has no folder")], "a/1": [3]}
    log = tmp_path / "runs" / "a" / "seed_001.log"
    log.parent.mkdir(parents=True)
    log.write_text("I0000 note\nout of paper\n  indented\n")
    said = schedule(tmp_path, outcomes, retries=0)[2]
    a = tmp_path / "runs" / "a" / "seed_000"
    assert f"failed a/0 (its process ended well and left no outcome in {a}), given up" in said
    assert "failed b/0 (host b has no folder), given up" in said
    assert f"failed a/1 (out of paper), given up; see {log}" in said


def test_a_finished_run_that_has_lost_records_is_resumed(tmp_path):
    """And one whose run.json cannot be read is started, which says what is wrong."""
    made = schedule(tmp_path, {})[0]
    finished, damaged = made.runs[0].directory, made.runs[1].directory
    (finished.path / "spectra" / "step_00000005.npz").write_text("")
    damaged.run.write_text("{")
    assert [run.status() for run in made.runs[:3]] == ["damaged", "damaged", "finished"]
    assert schedule(tmp_path, {"a/0": ["collapsed"], "b/0": [2]})[1] == ["a/0", "b/0"]


def test_a_mistake_is_not_tried_again_and_a_divergence_is_an_outcome(tmp_path):
    made, started, said = schedule(tmp_path, {"a/0": [2], "b/0": ["diverged"]})
    assert started.count("a/0") == started.count("b/0") == 1
    assert [run.name for run in made.failed] == ["a/0"]
    assert "diverged b/0, 1 of 4 over" in said


def test_a_run_that_was_given_up_says_so(tmp_path):
    """A refused run leaves nothing in its directory; one killed before its first record neither."""
    made, _, _ = schedule(tmp_path, {"a/0": [2], "b/0": [-9, -9, -9], "a/1": [1, 1, 1]}, retries=2)
    assert {run.name: run.status() for run in made.runs} == {
        "a/0": "refused",
        "b/0": "killed",
        "a/1": "failed",
        "b/1": "finished",
    }
    again, started, _ = schedule(tmp_path, {"a/0": ["interrupted", 2], "b/0": ["failed"] * 3})
    assert started == ["a/0", "b/0", "a/1", "a/0", "b/0", "b/0"]
    states = {run.name: run.status() for run in again.runs}
    assert states == {"a/0": "refused", "b/0": "failed", "a/1": "finished", "b/1": "finished"}


def test_a_run_is_running_while_a_process_holds_its_directory(tmp_path):
    run = _plan.Run("a", 0, RunDirectory(tmp_path / "seed_000").create())
    run.directory.update_run(status="running")
    assert run.status() == "killed"
    with lock(run.directory.path):
        assert run.status() == "running"
    assert run.status() == "killed"


def test_the_cost_of_what_is_left(tmp_path):
    """Arm a: 100 s and 140 s for 1,000 steps; b: 60 s by a run at step 250 of 1,000; c as the mean of a and b, 90 s.

    Left are a/2 with 120 s, b/0 with 45, b/1 and b/2 with 60, and three of c.
    """
    study = _plan.make(arms={arm: ["x.gin"] for arm in "abc"}, seeds=3)
    runs = {run.name: run for run in _plan.StudyDirectory(tmp_path).list_runs(study)}
    assert _schedule.cost(list(runs.values()), 2) is None
    for name, status, step, seconds in (
        ("a/0", "finished", 1000, 100.0),
        ("a/1", "diverged", 500, 70.0),
        ("b/0", "interrupted", 250, 15.0),
        ("b/1", "running", 0, 4.0),
    ):
        directory = runs[name].directory.create()
        directory.update_run(status=status, bindings={"train_and_evaluate.steps": 1000})
        for at in sorted({0, step}):
            row = {"mean_log_condition": 1.0, "log_condition": [1.0], "seconds": seconds if at else min(seconds, 4.0)}
            fabricated.record(runs[name], {"step": at, **row})
    told = _schedule.cost(list(runs.values()), 2)
    assert told.startswith(
        "7 of 9 runs are left, of 1 min 30 s each (measured on 3 of them): 9 min 15 s, or 4 min 38 s "
    )
    assert [_schedule.duration(seconds) for seconds in (59.4, 3599.6, 86_400.0)] == ["59 s", "1 h 0 min", "24 h 0 min"]


def start_study(workdir, *flags, steps=100):
    """`python -m tfjc.study.run` with two runs at once."""
    command = [sys.executable, ROOT / "tests/study/forked.py", "--gin_file=quick", f"--workdir={workdir}", "--jobs=2"]
    command += [f"--gin_bindings={binding}" for binding in (ARMS, BINDINGS.format(steps))] + list(flags)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return forks.Process(command, env=environment, cwd=workdir.parent, **pipes)


def results(workdir):
    """The rows of the report's table."""
    directory = _plan.StudyDirectory(workdir)
    study = directory.read()
    _report.write_tables(workdir, study, _read.read(directory, study), {}, np.random.default_rng(0))
    with open(workdir / "results.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def wait_for(study, look):
    """What `look()` returns once that is true, while the study is running."""
    while not (found := look()):
        assert study.poll() is None, study.communicate()[0]
        time.sleep(0.02)
    return found


def process_of_a_run(workdir, killed):
    """The process of a run that has recorded something and goes on; none of `killed`."""
    for path in workdir.glob("runs/*/*/.lock"):
        owner = re.match(r"process (\d+) ", path.read_text())
        rows = RunDirectory(path.parent).read_metrics()
        if owner and int(owner[1]) not in killed and rows and rows[-1]["step"] > 0:
            return int(owner[1])
    return None


def test_a_study_disturbed_by_kills_ends_as_one_that_was_not(tmp_path):
    """SIGKILL to each of two runs, and to the parent when one of them goes on: the same results."""
    quiet = start_study(tmp_path / "quiet", "--gin_bindings=study.seeds = 1")
    printed = quiet.communicate(timeout=240)[0]
    assert quiet.returncode == 0, printed
    assert "2 of 2 runs have an outcome" in printed
    assert "2 runs; what they cost is told with their first records" in printed and "2 of 2 runs are left" in printed
    workdir, killed = tmp_path / "disturbed", []
    disturbed = start_study(workdir, "--gin_bindings=study.seeds = 1", "--retries=5")
    for _ in range(2):
        killed.append(wait_for(disturbed, lambda: process_of_a_run(workdir, killed)))
        os.kill(killed[-1], signal.SIGKILL)
    again = wait_for(disturbed, lambda: process_of_a_run(workdir, killed))
    running = children(disturbed.pid)
    disturbed.kill()
    printed = disturbed.communicate()[0]
    assert printed.count("(killed by signal 9), to be tried again") == 2, printed
    assert again in running
    deadline = time.monotonic() + 10.0
    while any(map(is_alive, running)):  # none goes on without its parent
        assert time.monotonic() < deadline
        time.sleep(0.02)
    last = start_study(workdir, "--gin_bindings=study.seeds = 1", "--retries=5", "--nice=1")
    assert wait_for(last, lambda: {os.getpriority(os.PRIO_PROCESS, pid) for pid in children(last.pid)}) == {
        os.getpriority(os.PRIO_PROCESS, 0) + 1
    }
    printed = last.communicate(timeout=240)[0]
    assert last.returncode == 0, printed
    assert "resumes" in printed and re.search(
        r"of 2 runs are left, of (\d+ min )?\d+ s each \(measured on 2 of them\)", printed
    )
    first, second = results(tmp_path / "quiet"), results(workdir)
    assert first == second
    assert [(row["arm"], row["seed"], row["status"]) for row in first] == [
        ("plain", "0", "finished"),
        ("wide", "0", "finished"),
    ]


def test_ctrl_c_stops_cleanly_and_a_second_process_is_refused(tmp_path):
    workdir = tmp_path / "study"
    process = start_study(workdir, "--gin_bindings=study.seeds = 2", steps=1_000_000)
    wait_for(process, lambda: process_of_a_run(workdir, [process_of_a_run(workdir, [])]))  # both go on
    second = start_study(workdir, "--gin_bindings=study.seeds = 2", steps=1_000_000)
    printed = second.communicate(timeout=60)[0]
    assert second.returncode == 2 and re.search(rf"study is in use by process {process.pid} on \S+ since", printed)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=150)[0]
    assert process.returncode == 130, printed
    assert "the same command goes on" in printed
    study = _plan.StudyDirectory(workdir)
    assert "interrupted" in {run.status() for run in study.list_runs(study.read())}
