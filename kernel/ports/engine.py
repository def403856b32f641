"""The port to an engine: plans go in, reports come out.

An engine is an OS process with one model on one device. It holds the device pool of pages, maps the host pool
that the kernel owns, and runs plans strictly in the order in which they were submitted. Ordering is the contract
that makes slots reusable: a slot named by a later plan is never touched by an earlier one any more.

A *sequence* is one run of a process on the engine: its page table, how many tokens it has and how it samples.
Everything here is small: only what changed since the last plan.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NewType, Protocol

from msgspec import Struct

SequenceId = NewType("SequenceId", int)
"""Never reused while the engine lives."""

MoveId = NewType("MoveId", int)
"""Never reused while the engine lives."""


class Message(Struct, frozen=True, array_like=True):
    """Base of what crosses the port: a positional, immutable record."""


class Direction(IntEnum):
    """From which pool to which a page is copied."""

    DEVICE_TO_HOST = 0
    HOST_TO_DEVICE = 1
    DEVICE_TO_DEVICE = 2
    HOST_TO_HOST = 3


class Move(Message, frozen=True):
    """Copy one whole page between slots. Done when its id is in `Outcome.moved`."""

    id: MoveId
    direction: Direction
    source: int
    target: int


class GrammarKind(IntEnum):
    """In which language a grammar is written."""

    SCHEMA = 0
    REGEX = 1


class Grammar(Message, frozen=True):
    """What the text of a generation must be: JSON that a schema (JSON text) describes, or a match of a regex.

    An end token is chosen where the text is complete; with `prolong` only where nothing else may follow.
    """

    kind: GrammarKind
    text: str
    prolong: bool = False


class SamplingParameters(Message, frozen=True):
    """How a sequence chooses tokens. Temperature 0 is greedy.

    A draw depends on the logits, the seed and the position in the context alone: not on the batch, not on what
    happened to the sequence before. `top_logprobs` alternatives are reported when it is not None (0: only the
    chosen token's).
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int = 0
    top_logprobs: int | None = None
    banned: tuple[int, ...] = ()
    """Token ids that are never chosen (end-of-sequence ids under `ignore_eos` are not banned, just not obeyed)."""
    grammar: Grammar | None = None


class Open(Message, frozen=True):
    """Begin a sequence with an empty page table.

    `written` are the tokens that an earlier run of the same generation has chosen, when it has a grammar: it goes on
    after them.
    """

    sequence: SequenceId
    sampling: SamplingParameters
    written: tuple[int, ...] = ()


class Chunk(Message, frozen=True):
    """One sequence's part of a step.

    `tokens` are fed at positions `start`, `start + 1`, ...; when empty, the one token is the sequence's last sampled
    one, fed at `start` (the kernel may not know it yet). Before that the page table is changed: its entries from
    `pages_from` on are replaced by `pages` (device slots). After it, KV of positions `< start + n` is in the pages,
    and with
    `sample` the token for position `start + n` is chosen from the logits of the last one.
    """

    sequence: SequenceId
    start: int
    tokens: tuple[int, ...]
    pages_from: int
    pages: tuple[int, ...]
    sample: bool
    targets: tuple[int, ...] = ()


class Plan(Message, frozen=True):
    """One step: moves first, in order; then one forward pass over all chunks; `close` forgets sequences, before
    all else.
    """

    number: int
    moves: tuple[Move, ...] = ()
    close: tuple[SequenceId, ...] = ()
    open: tuple[Open, ...] = ()
    chunks: tuple[Chunk, ...] = ()


class Sampled(Message, frozen=True):
    """The token chosen for `position` of a sequence, with its log-probability and the likeliest `(token, logprob)`
    if asked for.
    """

    sequence: SequenceId
    position: int
    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Scored(Message, frozen=True):
    """The log-probabilities of a chunk's targets, the first at `position`, and whether each is the likeliest."""

    sequence: SequenceId
    position: int
    logprobs: tuple[float, ...]
    likeliest: tuple[bool, ...]


class Broken(Message, frozen=True):
    """A sequence that the step could not compute (for example: its logits are not numbers). Others are not affected."""

    sequence: SequenceId
    message: str


class Outcome(Message, frozen=True, tag="outcome"):
    """What came of a plan. `seconds` is the whole step, `move_seconds` the part spent on moves."""

    number: int
    moved: tuple[MoveId, ...] = ()
    sampled: tuple[Sampled, ...] = ()
    broken: tuple[Broken, ...] = ()
    seconds: float = 0.0
    move_seconds: float = 0.0
    scored: tuple[Scored, ...] = ()


class Ready(Message, frozen=True, tag="ready"):
    """The engine is up. `page_bytes` is the size of a page over all layers; `host_pages` fit in the shared host pool.

    `context_limit` is the model's, in tokens; `lookahead` is how many plans it wants queued beyond the one it runs
    (0 or 1); `fingerprint` names weights, tokenizer, dtype and page size.
    """

    model: str
    fingerprint: str
    device: str
    dtype: str
    weights: str
    page_tokens: int
    page_bytes: int
    device_pages: int
    host_pages: int
    context_limit: int
    vocabulary: int
    end_tokens: tuple[int, ...]
    step_tokens: int
    max_batch: int
    lookahead: int


Report = Ready | Outcome


class EngineGone(Exception):
    """The engine's OS process is dead or its channel broken; the text says why, as far as known."""


class EngineRefused(EngineGone):
    """The engine refuses its model or settings for good; starting it again would end the same way."""


class EngineProcess(Protocol):
    """A started engine. Used by one thread; no method blocks for longer than a small message takes."""

    @property
    def os_pid(self) -> int:
        """Its process id in the operating system."""
        ...

    def fileno(self) -> int:
        """Readable when `receive` has something to say, its death included."""
        ...

    def submit(self, plan: Plan, /) -> None:
        """Queue a plan. Raises `EngineGone`."""
        ...

    def receive(self) -> Report | None:
        """The next report, or None when there is none yet. Raises `EngineGone`."""
        ...

    def kill(self) -> None:
        """End it at once, reap it and close the channel. May be called twice."""
        ...


class EngineLauncher(Protocol):
    """Starts engines of one model, all over the same host pool, which outlives them."""

    @property
    def model(self) -> str:
        """The name that processes ask for."""
        ...

    def launch(self) -> EngineProcess:
        """Start one; returns at once, the first report is `Ready`. Raises `EngineGone`."""
        ...

    def close(self) -> None:
        """Release the host pool and the server that engines are forked from."""
        ...
