"""Two hundred forced stops, swaps and forks at random points change no token and compute nothing twice.

The points are counted in tokens, not in seconds: an operation comes when a random number of tokens has come.
`LLMOS_SEED` sets the seed.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest

import llmos
from tests.e2e.greedy_reference import Continuation, Reference, ties
from tests.e2e.house import GENERATION_SECONDS, House, greedy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

OPERATIONS = 200
MOST_STOPPED = 5
MOST_CHILDREN = 16
CHILD_TOKENS = 10
KINDS = ("stop", "cont", "swap_out", "swap_in", "fork")


class Progress:
    """How many tokens have come, over all streams."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.tokens = 0
        self.running = 0

    def add(self, tokens: int) -> None:
        with self._changed:
            self.tokens += tokens
            self._changed.notify_all()

    def enter(self, change: int) -> None:
        """A stream that can go on more, or less."""
        with self._changed:
            self.running += change
            self._changed.notify_all()

    def wait_for(self, tokens: int) -> None:
        """Return when so many have come, or no stream can go on."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.tokens >= tokens or self.running <= 0, GENERATION_SECONDS)


@dataclass(slots=True, eq=False)
class Stream:
    """One generation and the thread that reads it."""

    process: llmos.Process
    wanted: Continuation
    generation: llmos.Generation
    progress: Progress
    stopped: bool = False
    over: bool = False
    tokens: list[int] = field(default_factory=list)
    result: llmos.Generated | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        self.progress.enter(1)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def join(self) -> None:
        assert self.thread is not None
        self.thread.join(GENERATION_SECONDS)
        assert not self.thread.is_alive()

    def stop(self) -> None:
        self.process.stop()
        self.stopped = True
        self.progress.enter(-1)

    def cont(self) -> None:
        self.process.cont()
        self.stopped = False
        self.progress.enter(1)

    def _read(self) -> None:
        for chunk in self.generation:
            self.tokens += chunk.token_ids
            self.progress.add(len(chunk.token_ids))
        self.result = self.generation.result()
        self.over = True
        self.progress.enter(-1)


@dataclass(slots=True)
class Driver:
    """Performs random operations on random streams."""

    house: House
    chance: random.Random
    streams: list[Stream]
    done: Counter[str] = field(default_factory=Counter)
    children: list[tuple[llmos.Process, Stream]] = field(default_factory=list)

    def perform(self) -> None:
        """One operation; one that does not apply to the process is another one."""
        kind = self.chance.choice(KINDS)
        stream = self.chance.choice([one for one in self.streams if not one.over] or self.streams)
        stopped = sum(one.stopped and not one.over for one in self.streams)
        match kind:
            case "stop" if not stream.stopped and stopped < MOST_STOPPED:
                stream.stop()
            case "fork" if len(self.children) < MOST_CHILDREN:
                self.children.append((self.house.forked(stream.process), stream))
            case "swap_in":
                kind = self._swap_in(stream)
            case _ if stream.stopped:
                kind = "cont"
                stream.cont()
            case _:
                kind = "swap_out"
                stream.process.swap_out()
        self.done[kind] += 1

    def _swap_in(self, stream: Stream) -> str:
        try:
            stream.process.swap_in()
        except llmos.OutOfPages:
            return "swap_in, refused because others need the pages"
        return "swap_in"


def test_two_hundred_forced_moves_change_no_token(tight: House, reference: Reference) -> None:
    seed = int(os.environ.get("LLMOS_SEED", random.SystemRandom().getrandbits(32)))
    print(f"LLMOS_SEED={seed}")
    chance, progress = random.Random(seed), Progress()
    engine, counts = tight.engine, _metrics(tight)
    pages = sum(-(-(len(one.prompt) + len(one.tokens)) // engine.page_tokens) for one in reference.equal)
    assert 3 * engine.device_pages <= pages <= 4 * engine.device_pages, "the contexts must be 3 to 4 times the pool"
    streams = [Stream(*_begin(tight, wanted, chance), progress) for wanted in reference.equal]
    for stream in streams:
        stream.start()
    driver = Driver(tight, chance, streams)
    total = sum(len(one.tokens) for one in reference.equal)
    for point in sorted(chance.randrange(total * 9 // 10) for _ in range(OPERATIONS)):
        progress.wait_for(point)
        driver.perform()
    for stream in streams:
        if stream.stopped:
            stream.cont()
    found = 0
    for stream in streams:
        stream.join()
        assert stream.result is not None
        assert tuple(stream.tokens) == stream.result.token_ids
        assert len(stream.tokens) == len(stream.wanted.tokens)
        found += ties(stream.wanted, stream.tokens)
    _children_continue_as_their_parents(driver)
    print(f"seed {seed}: {dict(driver.done)}, {len(driver.children)} children, {found} ties")
    assert sum(driver.done.values()) == OPERATIONS
    after = _metrics(tight)
    assert after["pages_moved_in_total"] > counts["pages_moved_in_total"]
    assert after["recomputed_tokens_total"] == counts["recomputed_tokens_total"]
    infos = tight.system.processes()
    assert {info.pid: info.recomputed_tokens for info in infos} == {info.pid: 0 for info in infos}


def _begin(
    house: House, wanted: Continuation, chance: random.Random
) -> tuple[llmos.Process, Continuation, llmos.Generation]:
    process = house.context(wanted.prompt, chance.choice(("normal", "normal", "batch", "interactive")))
    return process, wanted, greedy(process, len(wanted.tokens))


def _children_continue_as_their_parents(driver: Driver) -> None:
    """Each child has what its parent had when it was forked, and goes on as its parent went on."""
    begun: list[tuple[llmos.Generation, tuple[int, ...]]] = []
    for child, stream in driver.children:
        whole = stream.wanted.prompt + tuple(stream.tokens)
        has = child.read().token_ids
        assert has == whole[: len(has)]
        expected = whole[len(has) : len(has) + CHILD_TOKENS]
        if expected:
            begun.append((greedy(child, len(expected)), expected))
    assert begun, "no child was forked before its parent had finished"
    for generation, expected in begun:
        assert generation.result().token_ids == expected


def _metrics(house: House) -> dict[str, float]:
    return {metric.name: metric.value for metric in house.system.metrics()}
