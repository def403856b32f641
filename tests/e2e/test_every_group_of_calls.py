"""One call of each group and more, through each client and endpoint: SDK blocking and async, plain client; ipc, tcp."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import llmos
from tests.e2e.greedy_reference import Reference, ties
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLAIN_CLIENT = Path(__file__).parent / "plain_client.py"
QUESTION = "What is the capital of France?"

both_endpoints = pytest.mark.parametrize("tcp", [False, True], ids=["ipc", "tcp"])


def endpoint_of(house: House, tcp: bool) -> str:
    """One of the daemon's two endpoints."""
    return house.daemon.tcp_endpoint if tcp else house.daemon.endpoint


@both_endpoints
def test_the_blocking_sdk_reaches_every_group(roomy: House, reference: Reference, tcp: bool) -> None:
    wanted = next(one for one in reference.varied if one.question == QUESTION)
    with llmos.connect(endpoint_of(roomy, tcp), roomy.daemon.key()) as system:
        process = roomy.own(system.spawn(name="france", priority="interactive", weight=50))
        assert process.append([{"role": "user", "content": QUESTION}]) == len(wanted.prompt)
        generation = process.generate(max_tokens=len(wanted.tokens), ignore_eos=True)
        chunks = list(generation)
        done = generation.result()
        assert ties(wanted, done.token_ids) <= 1
        assert [token for chunk in chunks for token in chunk.token_ids] == list(done.token_ids)
        assert "".join(chunk.text for chunk in chunks) == done.text
        assert "Paris" in done.text
        info = process.info()
        assert (info.name, info.priority, info.weight, info.principal) == (
            "france",
            llmos.PriorityClass.INTERACTIVE,
            50,
            "admin",
        )
        assert info.context_tokens == len(process.read().token_ids)
        children = process.fork(2)
        assert [roomy.own(child).info().parent for child in children] == [process.pid] * 2
        process.stop()
        assert process.info().state is llmos.State.STOPPED
        process.cont()
        assert process.swap_out() > 0
        assert process.info().pages.device == 0
        assert process.swap_in() > 0
        process.advise(will_need=True)
        assert process.renice(priority="batch").priority is llmos.PriorityClass.BATCH
        assert process.limit(children=3).limits.children == 3
        assert process.why().pid == process.pid
        assert {one.pid for one in system.processes()} >= {process.pid, *(child.pid for child in children)}
        assert system.info().principal == "admin"
        assert any(metric.name == "decode_tokens_total" and metric.value > 0 for metric in system.metrics())
        system.drain(timeout=60)
        system.drain(off=True)
        process.term()
        assert process.wait().code == 143


@both_endpoints
def test_the_asynchronous_sdk_reaches_every_group(roomy: House, reference: Reference, tcp: bool) -> None:
    wanted = next(one for one in reference.varied if one.question == QUESTION)

    async def everything() -> None:
        async with llmos.aconnect(endpoint_of(roomy, tcp), roomy.daemon.key()) as system:
            process = await system.spawn()
            roomy.own(roomy.system.process(process.pid))
            await process.append([{"role": "user", "content": QUESTION}])
            generation = process.generate(max_tokens=len(wanted.tokens), ignore_eos=True)
            tokens = [token async for chunk in generation for token in chunk.token_ids]
            assert ties(wanted, tokens) <= 1
            assert (await generation.result()).token_ids == tuple(tokens)
            child = await process.fork()
            roomy.own(roomy.system.process(child.pid))
            infos = await asyncio.gather(process.info(), child.info(), child.read(), child.why())
            assert infos[2].token_ids == wanted.prompt + tuple(tokens)
            assert await process.swap_out() >= 0
            assert (await system.info()).processes >= 2
            assert await system.metrics()
            waiting = asyncio.ensure_future(child.wait())
            await child.kill()
            assert (await waiting).code == 137
            with pytest.raises(llmos.NoSuchProcess):
                await child.info()

    asyncio.run(everything())


@both_endpoints
def test_a_client_of_thirty_lines_spawns_appends_and_generates(roomy: House, tcp: bool) -> None:
    before = {info.pid for info in roomy.system.processes()}
    done = subprocess.run(
        [sys.executable, str(PLAIN_CLIENT), endpoint_of(roomy, tcp), str(roomy.daemon.key()), "Once upon a time"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text, _, reason = done.stdout.rstrip("\n").rpartition("\n")
    assert text.strip()
    assert reason == "length"
    assert done.stderr == "tools []\nfound True\n"
    for info in roomy.system.processes():
        if info.pid not in before:
            roomy.own(roomy.system.process(info.pid))


def test_two_connections_see_one_process(roomy: House) -> None:
    process = roomy.spawn()
    with llmos.connect(endpoint_of(roomy, tcp=True), roomy.daemon.key()) as other:
        other.process(process.pid).append("The sea is")
        assert process.info().context_tokens == len(other.process(process.pid).read().token_ids) > 0


def test_chat_asks_and_answers_turn_by_turn(roomy: House) -> None:
    process = roomy.own(roomy.system.spawn(system="You are a helpful assistant."))
    assert "Paris" in process.chat(QUESTION, max_tokens=16)
    first = len(process.read().token_ids)
    assert process.chat("And of Italy?", max_tokens=16)
    assert len(process.read().token_ids) > first
