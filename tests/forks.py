"""Python processes that begin with TensorFlow imported.

`python -m tfjc.train` needs seven seconds for that. Here a server imports TensorFlow once for each worker of pytest and
touches no device. Each process is a fork of that server, with arguments, environment, directory, output, signals and an
exit status of its own. No module of tfjc is imported before the fork.
"""

import atexit
import multiprocessing
import multiprocessing.util  # before `atexit.register` below: what is registered last is called first
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import types

from lighter import lighten

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("tensorflow", "keras", "tensorflow_probability", "tf_keras", "tqdm", "rich.live", "gin"),
        *("scipy.optimize", "scipy.stats", "sklearn.datasets", "matplotlib.backends.backend_agg", "absl.app"),
    ]
)


@atexit.register
def _kill_children():
    """Python would wait for what a failed test has left behind."""
    for child in multiprocessing.active_children():
        child.kill()


class Process:
    """What `subprocess.Popen(command, ...)` gives for a command that begins with `sys.executable`.

    With `context=multiprocessing.get_context("fork")` it is a fork of the calling process.
    """

    def __init__(self, command, *, context=SERVER, cwd=None, env=None, stdout=None, stderr=None, **options):
        assert command[0] == sys.executable, command
        stdout = _file(stdout)
        self._files = stdout, stdout if stderr == subprocess.STDOUT else _file(stderr)
        before = [os.setsid] * options.get("start_new_session", False)
        before += [options["preexec_fn"]] if "preexec_fn" in options else []
        names = [file and file.name for file in self._files]
        arguments = [str(part) for part in command[1:]], str(cwd or os.getcwd()), dict(env or os.environ), names, before
        self._process = context.Process(target=_main, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit status, negative for a signal; None while the process runs."""
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """What went to `stdout=subprocess.PIPE` and to `stderr=subprocess.PIPE`, when the process has ended."""
        self.wait(timeout)
        return tuple(file and pathlib.Path(file.name).read_text(errors="replace") for file in self._files)

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(command, **options):
    """What `subprocess.run(command, capture_output=True, text=True)` gives."""
    process = Process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    return subprocess.CompletedProcess(command, process.wait(), *process.communicate())


def in_place_of_subprocess(start=Process):
    """A module `subprocess` whose `Popen` is `start`."""
    names = ("PIPE", "STDOUT", "DEVNULL", "TimeoutExpired")
    return types.SimpleNamespace(Popen=start, **{name: getattr(subprocess, name) for name in names})


def _file(stream):
    """A file for what a process prints: a new one in the place of a pipe, which could fill up."""
    return tempfile.NamedTemporaryFile() if stream == subprocess.PIPE else stream


def _main(arguments, cwd, environment, files, before):
    """Becomes `python ARGUMENTS`."""
    lighten()
    # As in a terminal: a shell lets what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for function in before:
        function()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, file in enumerate(files, 1):
        if file:
            os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), descriptor)
    kind, *rest = arguments
    sys.path.insert(0, os.path.dirname(kind) if kind.endswith(".py") else "")
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["-c", *rest[1:]] if kind == "-c" else [kind, *rest] if kind != "-m" else rest
    if kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(kind, run_name="__main__")
