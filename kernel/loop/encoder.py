"""The kernel's encoder: finds it, keeps it running, and gives it the texts of those who ask (`Embedder`).

It does not know calls, models' files or what vectors are for. Rules: one batch is under way at a time, so whoever comes
waits for one at most; a batch whose encoder died is done again by the next one; whoever waits is told when there will
be none. A model that is not there is looked for again at the next call, so that pulling it is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from llmos.kernel.core.encoding import Batch, EncodeJob, EncodeQueue, make_job
from llmos.kernel.loop.supervisor import Supervisor
from llmos.kernel.ports.encoder import (
    Embedding,
    EmbeddingDone,
    Encoded,
    EncodeOrder,
    EncoderLauncher,
    EncoderReady,
    EncoderReport,
)
from llmos.syscalls.abi.encoders import EncoderInfo
from llmos.syscalls.abi.errors import DeviceError, Error
from llmos.syscalls.abi.messages import Metric
from llmos.syscalls.abi.words import PriorityClass

log = logging.getLogger(__name__)

STILLBORN = 3
"""Encoders that may die in a row before one was up; then those who wait are told, and the next one is tried later."""

FindEncoder = Callable[[], EncoderLauncher]
"""Looks for the model on the disk, in a thread. Raises abi errors that say what to do."""


class EncoderState(StrEnum):
    """Where the encoder is in its life."""

    MISSING = "missing"
    STARTING = "starting"
    READY = "ready"
    REFUSED = "refused"


@dataclass(slots=True, eq=False)
class _Asked:
    """Who waits for a job, and what there is of it so far."""

    done: EmbeddingDone
    vectors: list[bytes] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Counters:
    texts: int = 0
    tokens: int = 0
    batches: int = 0
    seconds: float = 0.0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class _UnderWay:
    number: int
    batch: Batch


class EncoderService:
    """Vectors for everybody in the kernel. Belongs to the thread of its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, model: str, find: FindEncoder) -> None:
        self.model = model
        self._loop = loop
        self._find = find
        self._queue = EncodeQueue()
        self._asked: dict[EncodeJob, _Asked] = {}
        self._state = EncoderState.MISSING
        self._looking = False
        self._supervisor: Supervisor[EncodeOrder, EncoderReport] | None = None
        self._ready: EncoderReady | None = None
        self._under_way: _UnderWay | None = None
        self._numbers = 0
        self._stillborn = 0
        self._counters = _Counters()
        self._detail = ""
        self._pumping = self._closed = False

    def start(self) -> None:
        """Look for the model, and start an encoder if it is there."""
        self._look()

    def close(self) -> None:
        """End the encoder; nobody is told anything any more."""
        self._closed = True
        self._asked.clear()
        if self._supervisor is not None:
            self._supervisor.close()

    def embed(
        self, texts: Sequence[str], principal: str, priority: PriorityClass, done: EmbeddingDone
    ) -> Callable[[], None]:
        """See `Embedder`."""
        job = make_job(principal, priority, texts)
        self._queue.add(job)
        self._asked[job] = _Asked(done)
        match self._state:
            case EncoderState.MISSING:
                self._look()
            case EncoderState.REFUSED:
                self._loop.call_soon(self._give_up, DeviceError(self._detail, _OTHER_MODEL))
            case EncoderState.READY | EncoderState.STARTING:
                self._pump_soon()
        return lambda: self._take_back(job)

    @property
    def info(self) -> EncoderInfo:
        """What there is to say about it."""
        ready = self._ready
        return EncoderInfo(
            model=self.model,
            state=self._state.value,
            device=ready.device if ready else "",
            dtype=ready.dtype if ready else "",
            fingerprint=ready.fingerprint if ready else "",
            dimensions=ready.dimensions if ready else 0,
            max_tokens=ready.max_tokens if ready else 0,
            batch_tokens=ready.batch_tokens if ready else 0,
            restarts=self._counters.restarts,
            waiting_texts=self._queue.texts,
            os_pid=self._supervisor.os_pid if self._supervisor is not None else None,
            detail=self._detail,
        )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Its counters and gauges."""
        counters = self._counters
        rows: tuple[tuple[str, float, str], ...] = (
            ("encoder_texts_total", counters.texts, "texts that were encoded"),
            ("encoder_tokens_total", counters.tokens, "tokens that were encoded"),
            ("encoder_batches_total", counters.batches, "batches that the encoder computed"),
            ("encoder_seconds_total", counters.seconds, "time that the encoder computed"),
            ("encoder_restarts_total", counters.restarts, "encoders that were lost"),
            ("encoder_texts_waiting", self._queue.texts, "texts that wait or are being encoded"),
        )
        return tuple(Metric(name, float(value), text) for name, value, text in rows)

    # --- finding it

    def _look(self) -> None:
        if self._looking or self._closed:
            return
        self._looking = True
        self._loop.run_in_executor(None, self._find).add_done_callback(self._found)

    def _found(self, future: asyncio.Future[EncoderLauncher]) -> None:
        self._looking = False
        if self._closed or future.cancelled():
            return
        try:
            launcher = future.result()
        except Error as error:
            self._missing(error)
            return
        self._state, self._detail = EncoderState.STARTING, ""
        self._supervisor = Supervisor(self._loop, launcher, self)
        self._supervisor.start()

    def _missing(self, error: Error) -> None:
        if self._detail != error.message:
            log.warning("no encoder: %s (hint: %s)", error.message, error.hint)
        self._detail = error.message
        self._give_up(error)

    # --- its life (`EngineListener`)

    def engine_report(self, model: str, report: EncoderReport) -> None:
        """It is ready, or an order was carried out."""
        match report:
            case EncoderReady():
                self._ready, self._state, self._detail = report, EncoderState.READY, ""
                self._queue.max_tokens = report.max_tokens
                self._stillborn = 0
            case Encoded():
                self._encoded(report)
        self._pump()

    def engine_down(self, model: str, reason: str, refused: bool) -> None:
        """It is gone; what it had under way waits again."""
        self._counters.restarts += 0 if refused else 1
        self._stillborn += self._state is EncoderState.STARTING
        self._state = EncoderState.REFUSED if refused else EncoderState.STARTING
        self._detail = reason
        lost, self._under_way = self._under_way, None
        for job in self._queue.lost(lost.batch) if lost is not None else ():
            self._tell(job, DeviceError(f"encoders die with these texts: {reason}", "send them in smaller parts"))
        if refused:
            self._give_up(DeviceError(reason, _OTHER_MODEL))
        elif self._stillborn >= STILLBORN:
            self._give_up(DeviceError(f"no encoder comes up: {reason}", "llmosctl doctor, and the daemon's log"))

    # --- batches

    def _pump_soon(self) -> None:
        """Once per turn of the loop, so that calls that came together are encoded together."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        ready, supervisor = self._ready, self._supervisor
        if self._state is not EncoderState.READY or ready is None or supervisor is None or self._under_way is not None:
            return
        batch = self._queue.next(ready.batch_tokens)
        if batch:
            self._numbers += 1
            self._under_way = _UnderWay(self._numbers, batch)
            supervisor.submit(EncodeOrder(self._numbers, tuple(text for part in batch for text in part.texts)))

    def _encoded(self, report: Encoded) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is None or under_way.number != report.number:
            raise AssertionError(f"the encoder answered order {report.number}, which is not under way")
        self._count(report)
        self._hand_out(under_way.batch, report)
        for job in self._queue.finished(under_way.batch):
            self._answer(job)

    def _hand_out(self, batch: Batch, report: Encoded) -> None:
        """Give every job its part of what came back."""
        begin, size, cut = 0, len(report.vectors) // len(report.tokens), set(report.cut)
        for part in batch:
            end = begin + part.end - part.first
            asked = self._asked.get(part.job)
            if asked is not None:
                asked.vectors.append(report.vectors[begin * size : end * size])
                asked.tokens += report.tokens[begin:end]
                asked.cut += (part.first + index - begin for index in range(begin, end) if index in cut)
            begin = end

    def _answer(self, job: EncodeJob) -> None:
        ready, asked = self._ready, self._asked.get(job)
        if ready is not None and asked is not None:
            vectors, tokens, cut = b"".join(asked.vectors), tuple(asked.tokens), tuple(asked.cut)
            self._tell(job, Embedding(self.model, ready.fingerprint, ready.dimensions, vectors, tokens, cut))

    def _tell(self, job: EncodeJob, result: Embedding | Error) -> None:
        asked = self._asked.pop(job, None)
        if asked is not None:
            asked.done(result)

    def _take_back(self, job: EncodeJob) -> None:
        if self._asked.pop(job, None) is not None:
            self._queue.drop(job)

    def _give_up(self, error: Error) -> None:
        """Tell everybody who waits."""
        for job in list(self._queue):
            self._queue.drop(job)
            self._tell(job, error)

    def _count(self, report: Encoded) -> None:
        self._counters.texts += len(report.tokens)
        self._counters.tokens += sum(report.tokens)
        self._counters.batches += 1
        self._counters.seconds += report.seconds


_OTHER_MODEL = "engine.encoder names another model; then start the daemon again"
