"""The asynchronous SDK against a real socket."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmos
from tests.unit.echo_kernel import VERSIONS, EchoKernel, echo_kernel


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[EchoKernel]:
    threads = set(threading.enumerate())
    with echo_kernel(tmp_path) as running:
        yield running
    assert set(threading.enumerate()) == threads


def test_a_connection_opens_in_async_with_and_by_await(kernel: EchoKernel) -> None:
    key = kernel.new_key_file("alice")

    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, key) as system:
            assert (await system.spawn()).pid == 7
        system = await llmos.aconnect(kernel.endpoint, key)
        async with system:
            assert await system.processes() == []
        with pytest.raises(llmos.DeviceError, match="closed"):
            await system.metrics()

    asyncio.run(main())


def test_awaited_calls_give_what_the_blocking_ones_give(kernel: EchoKernel) -> None:
    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            p = await system.spawn()
            assert await p.append("four") == 4
            assert await p.chat("who?", max_tokens=2) == "1 2 "
            assert (await p.fork()).pid == 8
            assert [child.pid for child in await p.fork(2)] == [8, 9]
            g = p.generate(max_tokens=200)
            assert [chunk.token_ids[0] async for chunk in g] == list(range(1, 201))
            assert (await g.result()).finish_reason == "length"
            with pytest.raises(llmos.TryAgain, match="no room"):
                await system.spawn(name="refuse")
            with pytest.raises(llmos.TimedOut):
                await p.wait(timeout=0.01)

    asyncio.run(main())
    assert kernel.most_unanswered_events <= 64


def test_many_tasks_share_a_connection(kernel: EchoKernel) -> None:
    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            p = system.process(7)
            results = [p.generate(max_tokens=n + 1).result() for n in range(100)]
            assert [len(done.token_ids) for done in await asyncio.gather(*results)] == list(range(1, 101))

    asyncio.run(main())


def test_a_cancelled_task_cancels_its_generation_and_the_result_still_comes(kernel: EchoKernel) -> None:
    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            g = system.process(7).generate(max_tokens=10, seed=7)
            reader = asyncio.create_task(g.result())
            await system.metrics()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            assert (await g.result()).finish_reason == "cancelled"

    asyncio.run(main())
    assert len(kernel.cancelled) == 1


def test_a_cancelled_call_is_cancelled_at_the_kernel(kernel: EchoKernel) -> None:
    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            waiting = asyncio.create_task(system.process(7).wait())
            await system.metrics()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await asyncio.to_thread(kernel.wait_for_cancel)

    asyncio.run(main())


def test_a_generation_that_nobody_holds_is_cancelled(kernel: EchoKernel) -> None:
    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            await anext(system.process(7).generate(max_tokens=10, seed=7))
            gc.collect()
            assert await asyncio.to_thread(kernel.wait_for_cancel)

    asyncio.run(main())


def test_waiting_calls_fail_when_the_daemon_dies(kernel: EchoKernel) -> None:
    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            waiting = asyncio.create_task(system.process(7).wait())
            await system.metrics()
            await asyncio.to_thread(kernel.stop)
            with pytest.raises(llmos.DeviceError, match="went away"):
                await waiting

    asyncio.run(main())


def test_an_unknown_key_is_refused(kernel: EchoKernel) -> None:
    async def main() -> None:
        with pytest.raises(llmos.PermissionDenied):
            await llmos.aconnect(kernel.endpoint, kernel.new_key_file("mallory", known=False))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [(llmos.System, llmos.AsyncSystem), (llmos.Process, llmos.AsyncProcess)]
)
def test_both_kinds_have_the_same_methods_and_arguments(blocking: type, asynchronous: type) -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: [str(one.replace(annotation="")) for one in inspect.signature(member).parameters.values()]
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(blocking) == methods(asynchronous)


@pytest.mark.parametrize("limit", [None, 1, 999, 1000, 1001, 2500, 9999])
def test_a_history_has_all_versions_or_as_many_as_are_asked_for(kernel: EchoKernel, limit: int | None) -> None:
    async def main() -> list[int]:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            return [one.version for one in await system.memory.history("a", limit=limit)]

    assert asyncio.run(main()) == list(range(VERSIONS, 0, -1))[:limit]


def test_a_limit_below_zero_is_refused(kernel: EchoKernel) -> None:
    async def main() -> None:
        async with llmos.aconnect(kernel.endpoint, kernel.new_key_file("alice")) as system:
            with pytest.raises(llmos.InvalidArgument, match="limit of -1"):
                await system.memory.list(limit=-1)
            with pytest.raises(llmos.InvalidArgument, match="limit of -1"):
                await system.memory.history("a", limit=-1)

    asyncio.run(main())
