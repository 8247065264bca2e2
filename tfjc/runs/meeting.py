"""Workers of one run meet before TensorFlow connects them, and compare what must be the same in all.

TensorFlow itself waits for a missing worker for ever, and lets workers of different seeds or configurations train
together. Here the first worker listens on its port of TF_CONFIG until every other worker has told what it was started
with. It answers with what differs, and all of them go on or all of them stop.
"""

import contextlib
import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

PATIENCE = 300.0  # seconds in which all workers must have been started
_STRANGER = 5.0  # seconds for a connection and its first message, which may be of no worker
_MOST = 1 << 24  # bytes of a message


def meet(workers: Sequence[str], index: int, agreement: Mapping[str, Any], patience: float = PATIENCE) -> None:
    """Waits for all workers, and compares `agreement`.

    Args:
      workers: "host:port" of each worker.
      index: of this worker. Worker 0 listens.
      agreement: {name: JSON data} that must be the same in all workers.
      patience: seconds to wait at most.

    Raises:
      ValueError: workers disagree, did not come, or this worker's port is in use.
    """
    if len(workers) > 1:
        others = "the others" if index == 0 else f"worker 0 ({workers[0]})"
        print(f"worker {index} of {len(workers)} waits for {others}, {patience:.0f} s at most", flush=True)
    deadline = time.monotonic() + patience
    mine = json.loads(json.dumps({**agreement, "workers in TF_CONFIG": list(workers)}))
    with _listening(workers[index]) as own:
        differences = _collect(own, workers, mine, deadline) if index == 0 else _tell(workers, index, mine, deadline)
    if differences:
        raise ValueError(f"the workers of this run do not fit together\n{differences}")


def address(worker: str) -> tuple[str, int]:
    """(host, port) of "host:port". Raises ValueError for anything else."""
    host, separator, port = worker.rpartition(":") if isinstance(worker, str) else ("", "", "")
    if not (host and separator and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError(f"a worker in TF_CONFIG must be 'host:port' with a port of 1 to 65535, found {worker!r}")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _listening(worker):
    """A context with a socket that listens on a worker's port."""
    port, both = address(worker)[1], socket.has_dualstack_ipv6()
    try:
        family = socket.AF_INET6 if both else socket.AF_INET
        own = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise ValueError(f"port {port} of worker {worker} cannot be used: {error.strerror or error}") from error
    with own:
        yield own


def _collect(own, workers, mine, deadline):
    """Worker 0: hears every other worker and answers all of them; returns what differs, as text."""
    told, connections = {0: mine}, []
    try:
        while len(told) < len(workers):
            own.settimeout(_left(deadline))
            connection = own.accept()[0]
            connections.append(connection)
            heard = _receive(connection, min(deadline, time.monotonic() + _STRANGER))
            if heard.get("index") in range(1, len(workers)):  # anything else is no worker
                told[heard["index"]] = heard.get("agreement", {})
        differences = _differences(told) or _unreachable(workers)
    except TimeoutError:
        missing = ", ".join(f"{i} ({name})" for i, name in enumerate(workers) if i not in told)
        differences = f"  not started in time: worker {missing}"
    for connection in connections:
        with contextlib.suppress(OSError), connection:
            _send(connection, {"differences": differences})
    return differences


def _tell(workers, index, mine, deadline):
    """Another worker: tells worker 0, and returns its answer."""
    why = "it was not tried"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address(workers[0]), timeout=min(_STRANGER, _left(deadline))) as connection:
                _send(connection, {"index": index, "agreement": mine})
                answer = _receive(connection, deadline + _STRANGER)  # worker 0 answers at the deadline, too
            if "differences" in answer:
                return answer["differences"]
            why = "it ended before all workers were there"
        except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
            why = getattr(error, "strerror", None) or str(error)
        time.sleep(min(0.2, _left(deadline)))
    return f"  not started in time: worker 0 ({workers[0]}: {why})"


def _differences(told):
    """A line for each name whose values differ between workers; "" where none do."""
    lines = []
    for name in sorted({name for agreement in told.values() for name in agreement}):
        values = {index: json.dumps(told[index].get(name), sort_keys=True) for index in sorted(told)}
        if len(set(values.values())) > 1:
            lines.append(f"  {name}: {', '.join(f'{value} (worker {index})' for index, value in values.items())}")
    return "\n".join(lines)


def _unreachable(workers):
    """A line for each worker that does not answer at its address; all of them listen there now."""
    lines = []
    for index, worker in enumerate(workers):
        try:
            socket.create_connection(address(worker), timeout=_STRANGER).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
            why = getattr(error, "strerror", None) or str(error)
            lines.append(f"  worker {index} does not answer at its address {worker}: {why}")
    return "\n".join(lines)


def _send(connection, message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection, deadline):
    """A message as a dict; empty where none came by the deadline."""
    received = b""
    try:
        while not received.endswith(b"\n") and len(received) < _MOST:
            connection.settimeout(_left(deadline))
            piece = connection.recv(1 << 16)
            if not piece:
                break
            received += piece
        message = json.loads(received)
    except (OSError, ValueError):
        return {}
    return message if isinstance(message, dict) else {}


def _left(deadline):
    return max(0.01, deadline - time.monotonic())
