"""Requests, replies and stream events of every call; `table` says which belongs to which.

All are maps on the wire. A reply that has nothing to say is `Done`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llmos.syscalls.abi.encoders import EncoderInfo
from llmos.syscalls.abi.words import (
    MAX_CONTINUATIONS,
    MAX_GRAMMAR,
    MAX_SCORED_TOKENS,
    MAX_TOKENS_A_CALL,
    ChatMessage,
    Count,
    FinishReason,
    Limits,
    Name,
    Origin,
    PidField,
    PriorityClass,
    ProcessInfo,
    Record,
    Seconds,
    Signal,
    State,
    Text,
    Tier,
    TokenId,
    TokenLogprob,
    ToolFormat,
    Usage,
    Weight,
)


class Done(Record, frozen=True):
    """The reply of a call that returns nothing."""


# --- proc


class Spawn(Record, frozen=True):
    """Make a process. `deadline` is seconds from now, for `realtime`; `system` is the system message."""

    model: Name | None = None
    name: Name | None = None
    priority: PriorityClass = PriorityClass.NORMAL
    weight: Weight = 100
    deadline: Seconds | None = None
    limits: Limits = Limits()
    system: Text | None = None
    parent: PidField | None = None


class Spawned(Record, frozen=True):
    """The new process."""

    pid: int
    model: str


class Fork(Record, frozen=True):
    """Make `count` children that share the context of `pid`, copy on write."""

    pid: PidField
    count: Annotated[int, Meta(ge=1, le=1024)] = 1


class Forked(Record, frozen=True):
    """The children, in order."""

    pids: tuple[int, ...]


class SendSignal(Record, frozen=True):
    """Send a signal."""

    pid: PidField
    signal: Signal


class Wait(Record, frozen=True):
    """Wait until a process has exited, and reap it. `timeout` in seconds; ETIMEDOUT after it."""

    pid: PidField
    timeout: Seconds | None = None


class ExitStatus(Record, frozen=True):
    """How a process ended: 0 by itself, 128 + n by signal or limit."""

    pid: int
    code: int
    reason: str


class OnProcess(Record, frozen=True):
    """A call whose only argument is a process."""

    pid: PidField


class ListProcesses(Record, frozen=True):
    """List processes that the caller may see; `all` also those that have exited and are not reaped."""

    all: bool = False


class Processes(Record, frozen=True):
    """Processes by rising pid."""

    processes: tuple[ProcessInfo, ...]


class Renice(Record, frozen=True):
    """Change class or weight; `None` leaves it."""

    pid: PidField
    priority: PriorityClass | None = None
    weight: Weight | None = None


class SetLimits(Record, frozen=True):
    """Change limits; a field that is `None` stays as it was, one named in `clear` becomes unlimited."""

    pid: PidField
    limits: Limits = Limits()
    clear: Annotated[tuple[Name, ...], Meta(max_length=8)] = ()


class SwapOut(Record, frozen=True):
    """Move the pages of a process off the device; replies when they have moved."""

    pid: PidField
    tier: Tier = Tier.HOST


class Swapped(Record, frozen=True):
    """How many pages a swap call moved or freed on the device."""

    pages: int


class HistoryEntry(Record, frozen=True):
    """One thing that happened to a process; `at` is seconds since the epoch."""

    at: float
    what: str


class Why(Record, frozen=True):
    """What a process waits for and by which rule; why it was a victim; the latest of its history."""

    pid: int
    state: State
    waiting_for: str
    rule: str
    before_it: int
    history: tuple[HistoryEntry, ...]


# --- ctx


class Append(Record, frozen=True):
    """Append to the context: exactly one of text, messages and tokens.

    `origin` says that it comes from memory, a tool or another process; without one it comes from the caller.
    `tools`, with messages only, are what the model may call: JSON, `[{"type": "function", "function": {...}}, ...]`.
    """

    pid: PidField
    text: Text | None = None
    messages: Annotated[tuple[ChatMessage, ...], Meta(max_length=4096)] | None = None
    tokens: Annotated[tuple[TokenId, ...], Meta(max_length=MAX_TOKENS_A_CALL)] | None = None
    origin: Origin | None = None
    tools: Text | None = None


class Appended(Record, frozen=True):
    """How many tokens were added, how long the context is, and after tools in which form the model calls them."""

    tokens: int
    context_tokens: int
    tool_format: ToolFormat | None = None


class ContextSpan(Record, frozen=True):
    """Tokens from `start` up to `end`, their text by themselves, and where they come from."""

    start: int
    end: int
    text: str
    origin: Origin


class Context(Record, frozen=True):
    """What the model sees: the token ids, their text, special tokens included, and where each part of it comes from."""

    token_ids: tuple[int, ...]
    text: str
    spans: tuple[ContextSpan, ...] = ()


class Truncate(Record, frozen=True):
    """Keep the first `length` tokens of the context."""

    pid: PidField
    length: Count


class Rewind(Record, frozen=True):
    """Drop the last `count` tokens of the context."""

    pid: PidField
    count: Count


class Advise(Record, frozen=True):
    """`will_need`: bring the pages in and compute what is missing. `dont_need`: the pages may leave the device."""

    pid: PidField
    will_need: bool


# --- gen


class Sampling(Record, frozen=True):
    """How tokens are chosen; temperature 0 is greedy. `logprobs` is how many alternatives to report.

    `stop` are strings: generation ends when one appears, and the text is cut before it.
    A request without a seed is given one by the kernel, so that it can be replayed after a crash.
    `schema` (JSON schema, as JSON text) or `regex`, not both: the text is JSON that the schema describes, or matches
    the regex as a whole. It ends with `stop` when it is complete; with another reason it may not be. With `ignore_eos`
    it goes on as long as the grammar lets it.
    """

    max_tokens: Annotated[int, Meta(ge=1, le=1 << 20)] = 128
    temperature: Annotated[float, Meta(ge=0, le=100)] = 0.0
    top_k: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=16)] = ()
    ignore_eos: bool = False
    logprobs: Annotated[int, Meta(ge=0, le=20)] = 0
    schema: Annotated[str, Meta(max_length=MAX_GRAMMAR)] | None = None
    regex: Annotated[str, Meta(max_length=MAX_GRAMMAR)] | None = None


class Generate(Record, frozen=True):
    """Generate tokens after the context. `window` is the stream's first credit, in events; 0 asks for no events.

    `timeout` in seconds ends the generation with ETIMEDOUT; what was generated stays in the context.
    """

    pid: PidField
    sampling: Sampling = Sampling()
    window: Annotated[int, Meta(ge=0, le=1 << 16)] = 64
    timeout: Seconds | None = None


class Chunk(Record, frozen=True):
    """A stream event: new tokens, and the text that became certain with them.

    Text may lag behind its tokens while it is half a character or may be the start of a stop string.
    `signals` counts `usr1` signals that arrived since the last event.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    signals: int = 0


class Generated(Record, frozen=True):
    """The whole of a generation; `text` excludes special tokens, `detail` says which limit bit."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] = ()
    detail: str = ""


Continuation = Annotated[tuple[TokenId, ...], Meta(max_length=MAX_SCORED_TOKENS)]


class Score(Record, frozen=True):
    """Score continuations of the context: exactly one of texts and tokens. The context stays as it is.

    `timeout` in seconds ends it with ETIMEDOUT.
    """

    pid: PidField
    texts: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MAX_CONTINUATIONS)] | None = None
    tokens: Annotated[tuple[Continuation, ...], Meta(min_length=1, max_length=MAX_CONTINUATIONS)] | None = None
    timeout: Seconds | None = None


class ContinuationScore(Record, frozen=True):
    """How likely one continuation is: the log-probability of each token after all before it, and their sum.

    `greedy`: each token was the likeliest, so greedy generation would have written just this.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    logprob: float
    greedy: bool


class Scores(Record, frozen=True):
    """The scores, in the order of the continuations."""

    scores: tuple[ContinuationScore, ...]


# --- sys


class Nothing(Record, frozen=True):
    """The request of a call without arguments."""


class EngineInfo(Record, frozen=True):
    """One engine: what it runs and how full it is. Pages of `page_tokens` tokens, `page_bytes` bytes each.

    How full it is, is None for callers who may not read the metrics.
    """

    model: str
    device: str
    dtype: str
    weights: str
    state: str
    restarts: int
    page_tokens: int
    page_bytes: int
    device_pages: int
    device_pages_free: int | None
    device_pages_cached: int | None
    host_pages: int
    host_pages_free: int | None
    host_pages_cached: int | None
    context_limit: int
    max_batch: int
    step_tokens: int
    os_pid: int | None = None
    """The operating system's process id, while there is one."""
    detail: str = ""


class SystemInfo(Record, frozen=True):
    """The daemon. `started` is seconds since the epoch.

    Callers who may not read the metrics see the processes of their own tenant, and neither `home` nor `os_pid`.
    """

    version: str
    protocol: int
    home: str
    os_pid: int | None
    started: float
    principal: str
    draining: bool
    scheduler: str
    processes: int
    engines: tuple[EngineInfo, ...]
    encoders: tuple[EncoderInfo, ...] = ()


class Metric(Record, frozen=True):
    """One counter or gauge."""

    name: str
    value: float
    help: str


class Metrics(Record, frozen=True):
    """All counters and gauges, by name."""

    metrics: tuple[Metric, ...]


class Drain(Record, frozen=True):
    """Refuse new processes, generations and encodings, and wait until none is under way; `off` takes it back."""

    off: bool = False
    timeout: Seconds | None = None
