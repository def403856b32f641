"""What a test does with a daemon, and the count of what it leaves there.

Rules: every process that a test makes is entered in its house; at the end the house ends and reaps them, and then the
process table must be empty and every page of both pools free or a cache that belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import llmos
from tests.e2e.daemon_process import Daemon
from tests.e2e.greedy_reference import Continuation

GENERATION_SECONDS = 180.0
"""Far more than any generation here takes, on a busy machine too: a hang fails instead of lasting for ever."""


@dataclass(slots=True)
class House:
    """One test's use of a daemon, as its administrator."""

    daemon: Daemon
    system: llmos.System
    made: list[llmos.Process] = field(default_factory=list)

    @property
    def engine(self) -> llmos.EngineInfo:
        """The daemon's engine."""
        (engine,) = self.system.info().engines
        return engine

    def spare_device_pages(self) -> int:
        """Device pages that no process refers to."""
        engine = self.engine
        return spare(engine.device_pages_free, engine.device_pages_cached)

    def spawn(self, priority: str = "normal", limits: llmos.Limits | None = None) -> llmos.Process:
        """A process that this test is responsible for."""
        return self.own(self.system.spawn(priority=priority, limits=limits))

    def own(self, process: llmos.Process) -> llmos.Process:
        """Enter a process that was made otherwise."""
        self.made.append(self.system.process(process.pid))
        return process

    def context(self, tokens: Sequence[int], priority: str = "normal") -> llmos.Process:
        """A process with this context."""
        process = self.spawn(priority)
        process.append(tokens)
        return process

    def forked(self, parent: llmos.Process) -> llmos.Process:
        """A child of a process."""
        return self.own(parent.fork())

    def begin(self, reference: Continuation, count: int | None = None) -> tuple[llmos.Process, llmos.Generation]:
        """A process that generates what the reference says."""
        process = self.context(reference.prompt)
        return process, greedy(process, count or len(reference.tokens))

    def clean_up(self) -> None:
        """End and reap what was made, then count what is left."""
        for process in self.made:
            with suppress(llmos.NoSuchProcess):
                process.kill()
            with suppress(llmos.NoSuchProcess):
                process.wait(GENERATION_SECONDS)
        assert self.system.processes(all=True) == []
        self._run_one_step()
        engine = self.engine
        assert self.spare_device_pages() == engine.device_pages, engine
        assert spare(engine.host_pages_free, engine.host_pages_cached) == engine.host_pages, engine

    def _run_one_step(self) -> None:
        """Plans run in order: when this token is here, every step and every move before it has come to its end."""
        probe = self.system.spawn(name="probe")
        try:
            probe.append([1, 2, 3])
            greedy(probe, 1).result()
        finally:
            probe.kill()
            probe.wait()


def spare(free: int | None, cached: int | None) -> int:
    """Pages that hold nothing or nothing that a process refers to; administrators are told."""
    assert free is not None
    assert cached is not None
    return free + cached


@contextmanager
def house(daemon: Daemon) -> Iterator[House]:
    """Live in a daemon for one test, and leave it clean."""
    with daemon.connect() as system:
        lived = House(daemon, system)
        try:
            yield lived
        finally:
            lived.clean_up()


def greedy(process: llmos.Process, count: int) -> llmos.Generation:
    """Generate exactly so many tokens, without any chance."""
    return process.generate(max_tokens=count, ignore_eos=True, timeout=GENERATION_SECONDS)
