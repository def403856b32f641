"""How texts get their vectors: with the write, or later, whatever becomes of the encoder meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from llmos.drivers.simulator.encoder import SimulatedEmbedder
from llmos.drivers.store.memory.futures import done
from llmos.drivers.store.memory.store import MemoryStore
from llmos.kernel.gate.calls.memory_upkeep import Upkeep
from llmos.kernel.gate.calls.vectors import FILLED_AT_ONCE, Vectors
from llmos.kernel.ports.encoder import Embedding, EmbeddingDone
from llmos.kernel.ports.memory import Draft, Question
from llmos.syscalls.abi.errors import Error, NotFound, TryAgain
from llmos.syscalls.abi.memory import SearchMode
from llmos.syscalls.abi.words import PriorityClass
from tests.unit.memory_house import NOTES, embedding


class Encoder:
    """An `Embedder` that is there or not, or refuses, as it is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.there = True
        self.full = False
        self.silent = False
        self.taken_back = 0
        self.asked: list[tuple[tuple[str, ...], str, PriorityClass]] = []

    def embed(
        self, texts: Sequence[str], principal: str, priority: PriorityClass, done: EmbeddingDone
    ) -> Callable[[], None]:
        self.asked.append((tuple(texts), principal, priority))
        if self.full:
            raise TryAgain("too much waits")
        if self.silent:
            return self.take_back
        if not self.there:
            return self.loop.call_soon(done, NotFound("there is no encoder")).cancel
        return SimulatedEmbedder(self.loop).embed(texts, principal, priority, done)

    def take_back(self) -> None:
        self.taken_back += 1


def run(folder: Path, test: Callable[[MemoryStore, Encoder, Vectors], Coroutine[None, None, None]]) -> None:
    """Run a test in a loop, on a memory."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        store, encoder = MemoryStore(folder / "memory.db"), Encoder(loop)
        vectors = Vectors(loop, encoder, store)
        try:
            await test(store, encoder, vectors)
        finally:
            vectors.close()
            store.close()

    asyncio.run(whole())


async def put(store: MemoryStore, text: str, vector: Embedding | None = None) -> None:
    await asyncio.wrap_future(store.put(Draft(NOTES, text, text, "alice"), vector, 1.0))


async def waiting(store: MemoryStore) -> int:
    found = await asyncio.wrap_future(store.unembedded(1000))
    return len(found)


async def until_filled(store: MemoryStore) -> None:
    """Until nothing waits; each look takes a turn of the loop, and the test's time-out ends it."""
    while await waiting(store):
        pass


async def asked_for(vectors: Vectors, text: str) -> Embedding | Error:
    found: asyncio.Future[Embedding | Error] = asyncio.get_running_loop().create_future()
    vectors.of_text(text, "alice", PriorityClass.INTERACTIVE, found.set_result)
    return await found


def test_a_text_gets_its_vector_on_its_authors_account(tmp_path: Path) -> None:
    async def test(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        result = await asked_for(vectors, "cats")
        assert isinstance(result, Embedding)
        assert encoder.asked == [(("cats",), "alice", PriorityClass.INTERACTIVE)]

    run(tmp_path, test)


def test_without_an_encoder_or_with_a_full_one_the_error_comes_from_the_loop(tmp_path: Path) -> None:
    async def test(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        encoder.there = False
        assert isinstance(await asked_for(vectors, "cats"), NotFound)
        encoder.full = True
        assert isinstance(await asked_for(vectors, "cats"), TryAgain)

    run(tmp_path, test)


def test_a_question_that_is_taken_back_is_not_answered(tmp_path: Path) -> None:
    async def test(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        answers: list[Embedding | Error] = []
        encoder.silent = True
        vectors.of_text("cats", "alice", PriorityClass.NORMAL, answers.append)()
        assert (answers, encoder.taken_back) == ([], 1)

    run(tmp_path, test)


def test_what_waits_is_filled_in_batches_on_the_kernels_account_when_there_is_an_encoder(tmp_path: Path) -> None:
    async def test(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        count = 2 * FILLED_AT_ONCE + 1
        await asyncio.gather(*(put(store, f"text {number}") for number in range(count)))
        encoder.there = False
        vectors.probe()
        vectors.fill_soon()
        assert await waiting(store) == count
        encoder.there = True
        while not vectors.idle:
            await asyncio.sleep(0)
        vectors.probe()
        await until_filled(store)
        asked = [len(texts) for texts, principal, priority in encoder.asked if principal == "kernel"]
        assert asked[-3:] == [FILLED_AT_ONCE, FILLED_AT_ONCE, 1]
        question = Question(NOTES, "text 7", 1, SearchMode.VECTOR)
        (found,) = (await asyncio.wrap_future(store.search(question, done(embedding("text 7")), 1.0))).records
        assert found.id == "text 7"

    run(tmp_path, test)


def test_what_waited_when_the_daemon_ended_is_filled_by_the_next_one(tmp_path: Path) -> None:
    async def first(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        await put(store, "cats")

    async def second(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        assert await waiting(store) == 1
        upkeep = Upkeep(encoder.loop, store, vectors)
        upkeep.start()
        await until_filled(store)
        upkeep.close()

    run(tmp_path, first)
    run(tmp_path, second)


def test_another_encoder_is_noticed_at_the_first_tick_and_everything_is_embedded_anew(tmp_path: Path) -> None:
    async def test(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        await put(store, "cats", embedding("cats", fingerprint="another"))
        assert await waiting(store) == 0
        question = Question(NOTES, "cats", 1, SearchMode.VECTOR)
        vectors.probe()
        while not (await asyncio.wrap_future(store.search(question, done(embedding("cats")), 1.0))).records:
            pass

    run(tmp_path, test)


def test_upkeep_erases_what_has_expired(tmp_path: Path) -> None:
    async def test(store: MemoryStore, encoder: Encoder, vectors: Vectors) -> None:
        await asyncio.wrap_future(store.put(Draft(NOTES, "a", "cats", "alice", expires=2.0), None, 1.0))
        upkeep = Upkeep(encoder.loop, store, vectors, clock=lambda: 3.0)
        upkeep.start()
        while (await asyncio.wrap_future(store.usage())).items:
            pass
        upkeep.close()

    run(tmp_path, test)
