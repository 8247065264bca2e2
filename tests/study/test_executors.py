"""What is refused before a study begins."""

import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

from tfjc.study import _ray


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"--executor=ray needs Ray: pip install 'tfjc\[ray\]'"):
        _ray.Ray()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_told_at_once(scheme):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))  # nothing listens there
        address = f"{scheme}localhost:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"no Ray cluster answers at RAY_ADDRESS={address} within 10 s: .*refused"):
            _ray._check_answer(address)
        taken.listen()
        _ray._check_answer(address)


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_ray_finds_other_addresses_itself(address):
    _ray._check_answer(address)


@pytest.mark.parametrize("address", ["localhost:99999", "no.such.host.invalid:6379"])
def test_an_address_that_cannot_be(address):
    with pytest.raises(ValueError, match=f"no Ray cluster answers at RAY_ADDRESS={address}"):
        _ray._check_answer(address)


NICE = """
import os, pathlib, sys
from tfjc.study import _local
os.nice(4)
program = "import os, pathlib; print(os.nice(0), pathlib.Path('/proc/self/autogroup').read_text())"
_local.process([sys.executable, "-c", program], sys.argv[1], threads=1).wait()
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroups")
def test_a_run_is_as_nice_among_sessions_as_among_processes(tmp_path):
    """The kernel shares processors among sessions, each of which has a niceness of its own."""
    subprocess.run([sys.executable, "-c", NICE, tmp_path / "log"], check=True, env={**os.environ, "PYTHONPATH": ROOT})
    assert re.fullmatch(r"4 /autogroup-\d+ nice 4\s*", (tmp_path / "log").read_text())
