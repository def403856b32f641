"""The encoder without a model: what others test with."""

from __future__ import annotations

import asyncio
import struct

from llmos.drivers.simulator.encoder import DIMENSIONS, MAX_TOKENS, SimulatedEmbedder, simulated_vector
from llmos.kernel.ports.encoder import Embedding
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import PriorityClass


def test_texts_that_share_words_are_near_and_every_vector_has_length_one() -> None:
    cat, pet, bond = (_numbers(simulated_vector(text)) for text in ("a black cat", "the black cat", "interest rates"))
    assert abs(_dot(cat, cat) - 1) < 1e-6
    assert _dot(cat, pet) > _dot(cat, bond)
    assert _dot(_numbers(simulated_vector("")), _numbers(simulated_vector("!?"))) == 1.0


def test_the_embedder_answers_from_the_loop_and_tells_which_texts_were_cut() -> None:
    found: list[Embedding | Error] = []

    async def ask() -> None:
        embedder = SimulatedEmbedder(asyncio.get_running_loop())
        embedder.embed(["one two", "word " * (MAX_TOKENS + 1)], "alice", PriorityClass.NORMAL, found.append)
        embedder.embed(["never"], "alice", PriorityClass.NORMAL, found.append)()
        assert not found
        await asyncio.sleep(0)

    asyncio.run(ask())
    (result,) = found
    assert isinstance(result, Embedding)
    assert result.tokens == (2, MAX_TOKENS)
    assert result.cut == (1,)
    assert result.vector(0) == simulated_vector("one two")
    assert len(result.vectors) == 2 * DIMENSIONS * 4


def _numbers(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{DIMENSIONS}f", vector)


def _dot(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
