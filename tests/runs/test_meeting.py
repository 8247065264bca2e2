"""Workers that meet before TensorFlow connects them. Threads stand for processes: only their sockets matter."""

import concurrent.futures
import contextlib
import socket
import time

import pytest

from tfjc.runs import meeting


def addresses(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [f"localhost:{each.getsockname()[1]}" for each in sockets]


def meet(agreements, workers=None, patience=20.0, lost=()):
    """What becomes of each worker: None, or the message of its ValueError."""
    workers = workers or addresses(len(agreements))

    def one(index):
        try:
            meeting.meet(workers, index, agreements[index], patience)
        except ValueError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(len(agreements)) as executor:
        return list(executor.map(one, [index for index in range(len(agreements)) if index not in lost]))


def test_workers_that_agree_go_on():
    assert meet([{"--seed": 1, "b": [1, {"c": None}]}] * 3) == [None] * 3
    assert meet([{}]) == [None]  # alone, with nobody to wait for


@pytest.mark.parametrize(
    "agreements, line",
    [
        ([{"--seed": 0}, {"--seed": 1}], "  --seed: 0 (worker 0), 1 (worker 1)"),
        ([{"--workdir": "/a"}, {"--workdir": "/a"}, {"--workdir": "/b"}], '"/b" (worker 2)'),
        ([{"Adam.beta_1": 0.5}, {}], "  Adam.beta_1: 0.5 (worker 0), null (worker 1)"),
    ],
)
def test_workers_that_disagree_all_stop_and_say_in_what(agreements, line):
    found = meet(agreements)
    assert all("the workers of this run do not fit together\n" in message and line in message for message in found)
    assert len(set(found)) == 1


def test_two_clusters_disagree():
    one, other, third = addresses(3)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        first = executor.submit(meeting.meet, [one, other], 0, {}, 20.0)
        with pytest.raises(ValueError, match=f'workers in TF_CONFIG: .*"{other}"\\] .worker 0.*"{third}"\\] .worker 1'):
            meeting.meet([one, third], 1, {}, 20.0)
        with pytest.raises(ValueError, match="workers in TF_CONFIG"):
            first.result()


def test_who_does_not_come_is_named_in_time():
    workers = addresses(3)
    began = time.monotonic()
    found = meet([{}] * 3, workers, patience=1.0, lost=[2])
    assert all(f"not started in time: worker 2 ({workers[2]})" in message for message in found)
    (found,) = meet([{}] * 2, workers[:2], patience=1.0, lost=[0])
    assert f"not started in time: worker 0 ({workers[0]}: Connection refused)" in found
    assert time.monotonic() - began < 10.0


def connection(worker):
    deadline = time.monotonic() + 10.0
    while True:
        try:
            return socket.create_connection(meeting.address(worker))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_strangers_and_workers_that_are_started_again_do_no_harm():
    """A connection with rubbish, one that closes at once, a worker whose first process was killed after it had told."""
    workers = addresses(2)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        first = executor.submit(meeting.meet, workers, 0, {"--seed": 1}, 20.0)
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"index": 7}\n', b'{"index": "1"}\n', b"\xff\n", b""):
            with connection(workers[0]) as stranger:
                stranger.sendall(words)
        meeting.meet(workers, 1, {"--seed": 1}, 20.0)
        first.result()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "h\u00f6st.invalid", "a" * 300, " localhost"])
def test_a_worker_that_its_own_address_does_not_lead_to_is_named(host):
    """TensorFlow would wait for ever."""
    ours = addresses(1)[0].rpartition(":")[2]
    with pytest.raises(ValueError, match=f"worker 0 does not answer at its address {host}:{ours}: ."):
        meeting.meet([f"{host}:{ours}"], 0, {}, 5.0)


def test_addresses_may_be_of_ipv6():
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    meeting.meet([f"[::1]:{addresses(1)[0].rpartition(':')[2]}"], 0, {}, 5.0)


def test_a_port_in_use_is_named():
    with socket.create_server(("localhost", 0)) as taken:
        mine = f"localhost:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"port .* of worker {mine} cannot be used: Address already in use"):
            meeting.meet([mine, "localhost:1"], 0, {}, 1.0)


@pytest.mark.parametrize(
    "worker", ["localhost", "localhost:", ":2222", "localhost:99999", "a:b", "a:0", "", None, 3, []]
)
def test_what_is_no_address(worker):
    with pytest.raises(ValueError, match=r"must be 'host:port' with a port of 1 to 65535, found"):
        meeting.address(worker)
    assert meeting.address("[::1]:2222") == ("::1", 2222)
