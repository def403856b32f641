"""The blocking SDK against a real socket."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

import llmos
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.words import Role
from tests.unit.echo_kernel import VERSIONS, EchoKernel, echo_kernel


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Every test ends with the threads and sockets with which it began."""
    threads = set(threading.enumerate())
    sockets = _open_files()
    yield
    gc.collect()
    assert set(threading.enumerate()) == threads
    assert _open_files() == sockets


@contextmanager
def interrupted_soon() -> Iterator[None]:
    """What is inside blocks, and is interrupted as by Control-C."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGALRM, before)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def kernel(tmp_path: Path, nothing_is_left: None) -> Iterator[EchoKernel]:
    with echo_kernel(tmp_path) as running:
        yield running


@pytest.fixture
def system(kernel: EchoKernel) -> Iterator[llmos.System]:
    with llmos.connect(kernel.endpoint, kernel.new_key_file("alice")) as connected:
        yield connected


def test_a_call_returns_its_reply(system: llmos.System) -> None:
    p = system.spawn(name="first", priority="batch", limits={"context_tokens": 100})
    assert p.pid == 7
    assert p.append("four") == 4
    assert p.append([5, 6]) == 2
    assert p.append([{"role": "user", "content": "hello"}]) == 1
    assert p.read().text == "one two three"
    assert p.swap_out() == 4
    assert p.truncate(5) == 5
    assert [child.pid for child in p.fork(3)] == [8, 9, 10]
    assert p.fork().pid == 8
    assert system.processes() == []
    assert system.metrics()[0].name == "steps"


def test_arguments_arrive_as_they_were_given(system: llmos.System, kernel: EchoKernel) -> None:
    limits = llmos.Limits(generated_tokens=9)
    system.spawn("m", "n", "realtime", 3, 1.5, limits, "be brief")
    system.process(4).signal("usr1")
    system.process(4).generate(2, 0.5, 40, 0.9, 0.1, 7, "END", True, 2).close()
    assert kernel.wait_for_cancel()
    assert kernel.requests[0] == m.Spawn("m", "n", llmos.PriorityClass.REALTIME, 3, 1.5, limits, "be brief", None)
    assert kernel.requests[1] == m.SendSignal(4, llmos.Signal.USR1)
    sampling = m.Sampling(2, 0.5, 40, 0.9, 0.1, 7, ("END",), True, 2)
    assert kernel.requests[2] == m.Generate(4, sampling, 64, None)


def test_an_error_comes_back_as_its_exception_with_the_hint(system: llmos.System) -> None:
    with pytest.raises(llmos.TryAgain, match="no room") as caught:
        system.spawn(name="refuse")
    assert caught.value.hint == "try again in 3 s"


def test_arguments_that_mean_nothing_are_refused_before_they_are_sent(system: llmos.System, kernel: EchoKernel) -> None:
    p = system.process(3)
    for wrong in (
        lambda: system.spawn(priority="urgent"),
        lambda: system.spawn(weight=0),
        lambda: system.spawn(limits={"contexts": 1}),
        lambda: system.spawn(deadline=float("nan")),
        lambda: p.append([]),
        lambda: p.append([{"role": "user"}]),
        lambda: p.append([-1]),
        lambda: p.signal("hup"),
        lambda: p.generate(temperature=float("inf")),
        lambda: p.fork(0),
        lambda: p.limit(contexts=3),
        lambda: system.process(0).info(),
    ):
        with pytest.raises(llmos.InvalidArgument):
            wrong()
    with pytest.raises(llmos.InvalidArgument, match="schema"):
        p.generate(schema={"type": object()})
    with pytest.raises(llmos.InvalidArgument, match="regex"):
        p.chat("hello", regex="a" * ((1 << 16) + 1))
    with pytest.raises(llmos.MessageTooLong):
        p.append([{"role": "user", "content": "x" * (1 << 20)}] * 5)
    assert kernel.requests == []


def test_a_stream_gives_its_chunks_and_then_the_result(system: llmos.System) -> None:
    g = system.process(7).generate(max_tokens=5)
    assert [chunk.text for chunk in g] == ["1 ", "2 ", "3 ", "4 ", "5 "]
    done = g.result()
    assert done.token_ids == (1, 2, 3, 4, 5)
    assert done.finish_reason == "length"
    assert done.usage.generated_tokens == 5


def test_a_reader_gives_credit_back_as_it_reads_and_a_slow_one_is_not_overrun(
    system: llmos.System, kernel: EchoKernel
) -> None:
    g = system.process(7).generate(max_tokens=1000)
    first = next(g)
    system.metrics()  # the kernel has sent all that it may
    assert first.token_ids == (1,)
    assert kernel.most_unanswered_events == 64
    assert len(list(g)) == 999
    assert kernel.most_unanswered_events == 64
    assert max(kernel.credited) == 32


def test_a_result_without_reading_is_the_whole(system: llmos.System) -> None:
    assert len(system.process(7).generate(max_tokens=300).result().token_ids) == 300


def test_a_generation_that_fails_in_the_middle_raises_after_its_chunks(system: llmos.System) -> None:
    g = system.process(7).generate(max_tokens=10, seed=9)
    assert [next(g).token_ids for _ in range(3)] == [(1,), (2,), (3,)]
    with pytest.raises(llmos.DeviceError, match="broken"):
        next(g)
    with pytest.raises(llmos.DeviceError, match="broken"):
        g.result()


def test_a_cancelled_generation_says_so_and_keeps_what_it_had(system: llmos.System) -> None:
    g = system.process(7).generate(max_tokens=10, seed=7)
    next(g)
    g.cancel()
    done = g.result()
    assert done.finish_reason == "cancelled"
    assert done.token_ids == (1, 2, 3)


def test_a_generation_that_nobody_holds_is_cancelled(system: llmos.System, kernel: EchoKernel) -> None:
    for chunk in system.process(7).generate(max_tokens=10, seed=7):
        assert chunk.text == "1 "
        break
    del chunk
    gc.collect()
    assert kernel.wait_for_cancel()


def test_a_generation_that_is_closed_is_cancelled(system: llmos.System, kernel: EchoKernel) -> None:
    with system.process(7).generate(max_tokens=10, seed=7) as g:
        next(g)
    assert kernel.wait_for_cancel()


def test_an_interrupt_while_reading_cancels_the_generation(system: llmos.System) -> None:
    g = system.process(7).generate(max_tokens=10, seed=7)
    with interrupted_soon():
        list(g)
    assert g.result().finish_reason == "cancelled"


def test_an_interrupted_call_is_cancelled(system: llmos.System, kernel: EchoKernel) -> None:
    with interrupted_soon():
        system.process(7).wait()
    assert kernel.wait_for_cancel()


def test_a_program_that_forgets_to_close_ends_all_the_same(kernel: EchoKernel) -> None:
    program = (
        "import sys, llmos\n"
        "system = llmos.connect(sys.argv[1], sys.argv[2])\n"
        "g = system.process(7).generate(max_tokens=10, seed=7)\n"
        "print(next(g).text)\n"
    )
    command = [sys.executable, "-X", "dev", "-c", program, kernel.endpoint, str(kernel.new_key_file("alice"))]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1 \n", "")


def test_a_finished_generation_is_not_cancelled(system: llmos.System, kernel: EchoKernel) -> None:
    with system.process(7).generate(max_tokens=2) as g:
        g.result()
    system.metrics()
    assert kernel.cancelled == []


def test_chat_appends_the_question_and_returns_the_text(system: llmos.System, kernel: EchoKernel) -> None:
    assert system.process(7).chat("who?", max_tokens=2) == "1 2 "
    assert kernel.requests[0] == m.Append(7, messages=(llmos.ChatMessage(Role.USER, "who?"),))


def test_a_wait_ends_with_its_time_out_even_if_the_kernel_is_silent(system: llmos.System, kernel: EchoKernel) -> None:
    with pytest.raises(llmos.TimedOut):
        system.process(7).wait(timeout=0.01)
    assert kernel.wait_for_cancel()


def test_a_key_that_the_daemon_does_not_know_is_refused_at_once(kernel: EchoKernel) -> None:
    with pytest.raises(llmos.PermissionDenied, match="mallory") as caught:
        llmos.connect(kernel.endpoint, kernel.new_key_file("mallory", known=False))
    assert "LLMOS_KEY" in caught.value.hint


def test_a_key_for_another_daemon_is_refused(kernel: EchoKernel, tmp_path: Path) -> None:
    other = EchoKernel(tmp_path, "ipc://nowhere")
    with pytest.raises(llmos.PermissionDenied, match="is not the one"):
        llmos.connect(kernel.endpoint, other.new_key_file("stranger"))


@pytest.mark.parametrize("endpoint", ["ipc://{}/nobody.sock", "tcp://127.0.0.1:9"])
def test_without_a_daemon_connecting_says_how_to_start_one(tmp_path: Path, endpoint: str) -> None:
    key = EchoKernel(tmp_path, "ipc://nowhere").new_key_file("alice")
    with pytest.raises(llmos.TryAgain, match="no daemon answers") as caught:
        llmos.connect(endpoint.format(tmp_path), key)
    assert caught.value.hint == "llmosctl up"


def test_an_endpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    key = EchoKernel(tmp_path, "ipc://nowhere").new_key_file("alice")
    with pytest.raises(llmos.InvalidArgument, match="no endpoint"):
        llmos.connect("smoke://signals", key)


def test_calls_that_are_open_fail_when_the_daemon_dies_and_later_ones_find_its_successor(
    kernel: EchoKernel, system: llmos.System
) -> None:
    g = system.process(7).generate(max_tokens=10, seed=7)
    next(g)
    kernel.stop()
    with pytest.raises(llmos.DeviceError, match="went away"):
        g.result()
    with pytest.raises(llmos.TryAgain, match="no daemon answers"):
        system.metrics()
    kernel.start()
    assert system.metrics()[0].value == 3.0


def test_a_daemon_that_breaks_the_protocol_ends_the_connection(system: llmos.System) -> None:
    with pytest.raises(llmos.ProtocolError):
        system.drain()
    with pytest.raises(llmos.ProtocolError):
        system.metrics()


def test_the_reply_of_shutdown_arrives_before_the_end(system: llmos.System) -> None:
    system.shutdown()


def test_a_closed_connection_says_so_and_may_be_closed_again(kernel: EchoKernel) -> None:
    system = llmos.connect(kernel.endpoint, kernel.new_key_file("alice"))
    g = system.process(7).generate(max_tokens=10, seed=7)
    system.close()
    system.close()
    with pytest.raises(llmos.DeviceError, match="closed"):
        system.metrics()
    with pytest.raises(llmos.DeviceError, match="closed"):
        g.result()


def test_a_dropped_connection_ends_its_thread(kernel: EchoKernel) -> None:
    llmos.connect(kernel.endpoint, kernel.new_key_file("alice")).metrics()
    gc.collect()


def test_a_process_keeps_the_connection_of_a_system_that_nobody_holds(kernel: EchoKernel) -> None:
    p = llmos.connect(kernel.endpoint, kernel.new_key_file("alice")).spawn()
    gc.collect()
    assert p.append("abc") == 3


def test_many_threads_share_a_connection(system: llmos.System) -> None:
    def one(number: int) -> int:
        text = "x" * (number + 1)
        assert system.process(7).append(text) == number + 1
        return len(system.process(7).generate(max_tokens=number + 1).result().token_ids)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(200))) == list(range(1, 201))


def test_tcp_carries_the_same(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    with (
        echo_kernel(tmp_path, f"tcp://127.0.0.1:{port}") as kernel,
        llmos.connect(kernel.endpoint, kernel.new_key_file("alice")) as system,
    ):
        assert system.spawn().pid == 7


@pytest.mark.parametrize("limit", [None, 1, 999, 1000, 1001, 2500, 9999])
def test_a_history_has_all_versions_or_as_many_as_are_asked_for(system: llmos.System, limit: int | None) -> None:
    wanted = list(range(VERSIONS, 0, -1))[:limit]
    assert [one.version for one in system.memory.history("a", limit=limit)] == wanted


def test_a_limit_below_zero_is_refused(system: llmos.System) -> None:
    for listing in (system.memory.list, lambda limit: system.memory.history("a", limit=limit)):
        with pytest.raises(llmos.InvalidArgument, match="limit of -1"):
            listing(limit=-1)
