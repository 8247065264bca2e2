"""Runs a study: `python -m tfjc.study.run --gin_file=gin/studies/quick.gin`."""

import os
import pathlib
from collections.abc import Sequence

from absl import flags

from tfjc.runs import commands
from tfjc.study import _local, _plan, _schedule
from tfjc.support import interrupts
from tfjc.support.run_directory import lock

_GIN_FILE = flags.DEFINE_string("gin_file", None, "The study: a path, or a name in gin/studies.")
_GIN_BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A gin binding that overrides the file; repeatable.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The study's directory; studies/NAME by default.")
_JOBS = flags.DEFINE_integer("jobs", None, "Runs at once; the number of cores by default.", lower_bound=1)
_RETRIES = flags.DEFINE_integer("retries", 2, "How often a failed run is tried again.", lower_bound=0)
_EXECUTOR = flags.DEFINE_enum("executor", "local", ["local", "ray"], "Processes on this machine, or a Ray cluster.")
_GPUS = flags.DEFINE_float("gpus_per_run", 0.0, "GPUs that Ray reserves for a run.", lower_bound=0.0)
_CPUS = flags.DEFINE_float("cpus_per_run", 1.0, "CPU cores that Ray reserves for a run.", lower_bound=0.0)
_NICE = flags.DEFINE_integer("nice", 0, "Niceness added to that of every run.", lower_bound=0, upper_bound=19)
_PASSED_ON = {
    name: flags.DEFINE_string(name, None, f"Passed on to every run: {what}.")
    for name, what in {
        "data_dir": "the data directory of tensorflow-datasets",
        "manual_dir": "a directory with the dataset's official archives",
        "inception": "directory or TF-Hub handle of TF-GAN's Inception module",
    }.items()
}
_PASSED_ON["jit_compile"] = flags.DEFINE_enum("jit_compile", None, commands.XLA, "Passed on to every run: XLA.")
_PASSED_ON["precision"] = flags.DEFINE_enum(
    "precision", None, commands.PRECISIONS, "Passed on to every run: precision of the networks' computation."
)


def main(argv: Sequence[str]) -> int:
    """Runs a study; returns the exit status: 0 if every run has an outcome, 1 if not, 2 for a mistake of the user."""
    return commands.status("study.run", _start, argv, "interrupted; the same command goes on from here")


def _start():
    if not _GIN_FILE.value:
        raise ValueError("--gin_file is needed, for example --gin_file=gin/studies/quick.gin")
    study, executor = _plan.parse(_GIN_FILE.value, _GIN_BINDINGS.value), _executor()
    directory = _plan.StudyDirectory(_WORKDIR.value or f"studies/{pathlib.Path(_GIN_FILE.value).stem}")
    with lock(directory.create().path):
        return _run(directory.begin(study), directory, executor)


def _run(study, directory, executor):
    options = [f"--{name}={flag.value}" for name, flag in _PASSED_ON.items() if flag.value is not None]
    runs = directory.list_runs(study)
    with _display(directory) as display:
        schedule = _schedule.Schedule(
            study, runs, executor, retries=_RETRIES.value, options=options, report=display.report
        )
        told = _tell_cost(runs, executor, display)
        if not told:
            display.announce(f"{len(runs)} runs; what they cost is told with their first records")
        try:
            while schedule.advance():
                display.show(schedule)
                told = told or _tell_cost(runs, executor, display)
        except KeyboardInterrupt:
            display.report("interrupted: runs write their last records")
            with interrupts.held():
                executor.interrupt()
            raise
        display.show(schedule)
    over, failed = len(schedule.over), len(schedule.failed)
    print(f"{over} of {len(runs)} runs have an outcome{f', {failed} failed' if failed else ''}: {directory.path}")
    print(f"report: python -m tfjc.study.report --workdir={directory.path}")
    return 1 if failed else 0


def _tell_cost(runs, executor, display):
    """Reports what the study will cost; returns whether that is known."""
    text = _schedule.cost(runs, executor.jobs)
    if text:
        display.announce(text)
    return text is not None


def _executor():
    if _EXECUTOR.value == "local":
        os.nice(_NICE.value)
        return _local.Local(_JOBS.value)
    if _NICE.value:
        raise ValueError("--nice is for --executor=local: start the nodes of a Ray cluster with `nice` instead")
    from tfjc.study import _ray

    return _ray.Ray(_JOBS.value, gpus=_GPUS.value, cpus=_CPUS.value)


def _display(directory):
    from tfjc.study import _display

    return _display.display(directory.path)


def run() -> None:
    """Starts the command line."""
    commands.start("study.run", main)


if __name__ == "__main__":
    run()
