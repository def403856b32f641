"""Scoring through the stack: the numbers are those of transformers, and nothing is left, however a call ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import llmos
from llmos.drivers.models.store import ResolvedModel
from tests.e2e.house import House, greedy
from tests.e2e.score_reference import Expected, Item

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CONTEXTS = (
    "The capital of France is",
    "Water is made of hydrogen and",
    "Once upon a time there was a king who had three daughters. The youngest of them was so beautiful that",
    "2 + 2 =",
    "The opposite of hot is",
)
ENDINGS = (
    *(" Paris", " oxygen", " cold", " 4", " the sun itself was astonished", " not what you think it is, my friend."),
    *(" London and Berlin", " seven", ", as everybody knows, a matter of taste", "\n"),
)


def expected(model: ResolvedModel, items: list[Item]) -> list[Expected]:
    """What transformers says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.score_reference", str(model.directory)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000"},
        input=msgspec.json.encode(items),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=list[Expected])


def test_scores_are_those_of_transformers(roomy: House, model: ResolvedModel) -> None:
    items, found = [], []
    for context in CONTEXTS:
        process = roomy.spawn()
        process.append(context)
        before = process.read()
        scores = process.score(ENDINGS)
        assert process.read() == before
        assert [score.text for score in scores] == list(ENDINGS)
        items += [Item(before.token_ids, score.token_ids) for score in scores]
        found += scores
    assert len(items) == 50
    for score, wanted in zip(found, expected(model, items), strict=True):
        assert score.logprobs == pytest.approx(wanted.logprobs, abs=1e-3)
        assert score.logprob == pytest.approx(sum(wanted.logprobs), abs=1e-3)
        assert score.greedy == all(wanted.likeliest)
    assert found[0].logprob > found[2].logprob


def test_what_greedy_generation_writes_is_greedy_and_has_its_logprobs(roomy: House) -> None:
    process = roomy.spawn()
    process.append(CONTEXTS[2])
    child = roomy.forked(process)
    written = child.generate(max_tokens=12, ignore_eos=True, logprobs=1).result()
    own, other = process.score([written.token_ids, [*written.token_ids[:-1], 100]])
    assert own.greedy
    assert not other.greedy
    assert own.logprobs == pytest.approx([one.logprob for one in written.logprobs], abs=1e-3)
    assert own.token_ids == written.token_ids


def test_an_engine_that_is_killed_changes_no_score(tight: House) -> None:
    text = " ".join(CONTEXTS) * 3
    process = tight.spawn()
    process.append(text)
    wanted = process.score(ENDINGS)
    cold = tight.spawn()
    cold.append(text)
    os_pid = tight.engine.os_pid
    assert os_pid

    async def kill_while_it_scores() -> list[llmos.ContinuationScore]:
        async with llmos.aconnect(tight.daemon.endpoint, tight.daemon.key()) as system:
            scoring = asyncio.create_task(system.process(cold.pid).score(ENDINGS))
            while len(await system.processes()) <= 2:
                await asyncio.sleep(0)
            os.kill(os_pid, signal.SIGKILL)
            return await scoring

    again = asyncio.run(kill_while_it_scores())
    assert [score.token_ids for score in again] == [score.token_ids for score in wanted]
    for one, other in zip(again, wanted, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_a_system_scores_after_text_and_chat_and_leaves_no_process(roomy: House) -> None:
    paris, rome = roomy.system.score(CONTEXTS[0], [" Paris", " Rome"])
    assert paris.logprob > rome.logprob
    question = [{"role": "user", "content": "What is the capital of France?"}]

    async def chat() -> list[llmos.ContinuationScore]:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            return await system.score(question, ["Paris", "Rome"])

    paris, rome = asyncio.run(chat())
    assert paris.logprob > rome.logprob
    with pytest.raises(llmos.InvalidArgument):
        roomy.system.score(CONTEXTS[0], [""])
    with pytest.raises(llmos.InvalidArgument):
        roomy.system.score("", [" a"])
    assert roomy.system.processes(all=True) == []


def test_a_scoring_that_is_given_up_leaves_nothing(tight: House) -> None:
    process = tight.spawn()
    process.append(list(range(100, 420)))
    with pytest.raises(llmos.TimedOut):
        process.score(ENDINGS, timeout=0.05)

    async def give_up(how: str) -> None:
        async with llmos.aconnect(tight.daemon.endpoint, tight.daemon.key()) as system:
            scoring = asyncio.create_task(system.process(process.pid).score([[5] * 60, [6] * 60]))
            while len(await system.processes()) <= 1:
                await asyncio.sleep(0)
            if how == "cancel":
                scoring.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await scoring
        # Else the client leaves, and the call fails with its connection.
        if how == "leave":
            with pytest.raises(llmos.Error):
                await scoring

    for how in ("cancel", "leave"):
        asyncio.run(give_up(how))
    while len(tight.system.processes()) > 1:
        pass
    assert [one.pid for one in tight.system.processes(all=True)] == [process.pid]
    assert process.info().context_tokens == 320
    assert len(greedy(process, 2).result().token_ids) == 2


def test_bad_scorings_are_refused_by_name(roomy: House) -> None:
    empty, process = roomy.spawn(), roomy.context([1, 2, 3])
    with pytest.raises(llmos.InvalidArgument, match="empty context"):
        empty.score([" a"])
    for bad, reason in (
        ([], "list"),
        ("text", "list"),
        ([""], "no tokens"),
        ([[]], "no tokens"),
        ([[1 << 30]], "vocabulary"),
        ([" a"] * 129, "128"),
        ([[5] * 8000] * 5, "limit"),
    ):
        with pytest.raises(llmos.InvalidArgument, match=reason):
            process.score(bad)
    with pytest.raises(llmos.MessageTooLong):
        process.score([[5] * 9000])
    with pytest.raises(llmos.NoSuchProcess):
        roomy.system.process(9999).score([" a"])
    with roomy.daemon.connect("bob") as bob, pytest.raises((llmos.PermissionDenied, llmos.NoSuchProcess)):
        bob.process(process.pid).score([" a"])
    assert process.read().token_ids == (1, 2, 3)


@pytest.mark.parametrize("regex", [None, "[A-Z][a-z]{3,9}, [a-z ]{4,12}\\."])
def test_logprobs_of_tokens_and_alternatives_are_those_of_transformers(
    roomy: House, model: ResolvedModel, regex: str | None
) -> None:
    process = roomy.spawn()
    process.append(CONTEXTS[2])
    prompt = process.read().token_ids
    done = process.generate(max_tokens=8, temperature=1.2, seed=5, logprobs=4, regex=regex).result()
    items, found = [], []
    for index, one in enumerate(done.logprobs):
        before = (*prompt, *done.token_ids[:index])
        assert one.token_id == done.token_ids[index]
        for token, logprob in ((one.token_id, one.logprob), *one.top):
            items.append(Item(before, (token,)))
            found.append(logprob)
    wanted = expected(model, items)
    assert found == pytest.approx([score.logprobs[0] for score in wanted], abs=1e-3)
    best = wanted[1 :: len(done.logprobs[0].top) + 1]
    assert all(score.likeliest == (True,) for score in best)
