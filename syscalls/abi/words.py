"""The words of the boundary: ids, enumerations and the small records that several calls share.

A word means the same thing on the wire, in the core, in the CLI and in the docs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NewType

from msgspec import Meta, Struct

Pid = NewType("Pid", int)
"""Number of a process; never reused while the home directory lives."""

INIT = Pid(1)
"""The ancestor of every process; owned by the kernel, has no context."""

PROTOCOL_VERSION = 1


class PriorityClass(StrEnum):
    """Priority classes, highest first; strict between them, with aging."""

    REALTIME = "realtime"
    INTERACTIVE = "interactive"
    NORMAL = "normal"
    BATCH = "batch"
    IDLE = "idle"


class State(StrEnum):
    """Where a process is in its life."""

    NEW = "new"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPED = "stopped"
    EXITED = "exited"


class Signal(StrEnum):
    """What can be sent to a process."""

    STOP = "stop"
    CONT = "cont"
    TERM = "term"
    KILL = "kill"
    USR1 = "usr1"


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    LIMIT = "limit"
    KILLED = "killed"


class Tier(StrEnum):
    """Where pages can be."""

    DEVICE = "device"
    HOST = "host"
    DISK = "disk"


class Role(StrEnum):
    """Who speaks in a chat message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolFormat(StrEnum):
    """In which form a model's chat template asks it to call tools.

    `HERMES` is `<tool_call>{"name": ..., "arguments": ...}</tool_call>` (Hermes, Qwen), `LLAMA` is `{"name": ...,
    "parameters": ...}`, also behind a python tag (Llama 3), `MISTRAL` is `[TOOL_CALLS][{...}]`, `JSON` is
    `{"name": ..., "arguments": ...}`, for which templates that know no tools are told to ask.
    """

    HERMES = "hermes"
    LLAMA = "llama"
    MISTRAL = "mistral"
    JSON = "json"


class KeyKind(StrEnum):
    """What holds a key: a person, an app, an engine, or a service such as a gateway."""

    USER = "user"
    APP = "app"
    ENGINE = "engine"
    SERVICE = "service"


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every message: immutable, and a field nobody knows is an error."""


Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1 << 20)]
TokenId = Annotated[int, Meta(ge=0, lt=1 << 31)]
PidField = Annotated[int, Meta(ge=1, lt=1 << 53)]
Count = Annotated[int, Meta(ge=0, lt=1 << 53)]
Weight = Annotated[int, Meta(ge=1, le=10_000)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]

MAX_TOKENS_A_CALL = 1 << 17

MAX_CONTINUATIONS = 128
"""Continuations that one call scores."""

MAX_SCORED_TOKENS = 1 << 15
"""Tokens of all continuations of one call."""

MAX_GRAMMAR = 1 << 16
"""Characters of a schema or a regex."""


class MadeCall(Record, frozen=True):
    """A call of a tool that an assistant's message made; `arguments` is a JSON object."""

    name: Name
    arguments: Text = "{}"
    id: Annotated[str, Meta(max_length=64)] = ""


class ChatMessage(Record, frozen=True):
    """One message of a conversation; `content` is plain text.

    `tool_calls` are an assistant's, `name` and `tool_call_id` say which tool and which call a tool's message is from;
    templates that do not know them leave them out.
    """

    role: Role
    content: Text
    tool_calls: Annotated[tuple[MadeCall, ...], Meta(max_length=64)] = ()
    name: Name | None = None
    tool_call_id: Annotated[str, Meta(max_length=64)] | None = None


class OriginKind(StrEnum):
    """Where a part of a context comes from: from whom it was appended, what wrote it, or what it says it is from."""

    USER = "user"
    APP = "app"
    SERVICE = "service"
    MODEL = "model"
    TOOL = "tool"
    MEMORY = "memory"
    PROCESS = "process"


class Origin(Record, frozen=True):
    """Where a part of a context comes from. `by` is the principal who appended it.

    `name` is the tool or the namespace of memory, `id` and `version` the item of memory, `pid` the other process. The
    item is one that the caller may read, and counts as read by the process; the rest is what the caller says.
    """

    kind: OriginKind
    by: Annotated[str, Meta(max_length=64)] = ""
    name: Annotated[str, Meta(max_length=130)] | None = None
    id: Annotated[str, Meta(max_length=64)] | None = None
    version: Count | None = None
    pid: PidField | None = None


class Limits(Record, frozen=True):
    """Bounds of one process; `None` is no bound of its own.

    `wall_seconds` counts from spawn. They bite at the token boundary. `tool_calls` is how many calls of tools may be
    made in its name in its life.
    """

    context_tokens: Count | None = None
    generated_tokens: Count | None = None
    wall_seconds: Seconds | None = None
    children: Count | None = None
    tool_calls: Count | None = None


class Usage(Record, frozen=True):
    """What one generation cost. Times in seconds.

    `prompt_tokens` is the context when it began, `cached_tokens` the part of it whose KV was already there,
    `first_token_seconds` and `seconds` count from the moment the kernel accepted the call.
    """

    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    first_token_seconds: float
    seconds: float


class TokenLogprob(Record, frozen=True):
    """The log-probability of a token that was generated, and of the likeliest alternatives, best first."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class PageCounts(Record, frozen=True):
    """Pages of one process. One page may be in several tiers; `shared` and `dirty` count across tiers."""

    device: int = 0
    host: int = 0
    disk: int = 0
    shared: int = 0
    dirty: int = 0


class ProcessInfo(Record, frozen=True):
    """A process as `ps` shows it. `created` is seconds since the epoch."""

    pid: int
    parent: int
    name: str
    app: str
    principal: str
    model: str
    state: State
    waiting_for: str
    priority: PriorityClass
    weight: int
    context_tokens: int
    generated_tokens: int
    pages: PageCounts
    preemptions: int
    swapped_out_pages: int
    swapped_in_pages: int
    recomputed_tokens: int
    wait_seconds: float
    created: float
    limits: Limits
    pending_signals: int = 0
    deadline: float | None = None
    code: int | None = None
    reason: str | None = None
    tool_calls: int = 0
