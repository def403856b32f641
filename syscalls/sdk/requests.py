"""What the SDK's methods mean on the wire: arguments to requests, replies to results.

Pure functions, shared by the blocking and the asynchronous classes. They know the table and no connection.
Rule: what a request's type forbids is refused here already, as `InvalidArgument` that names the argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar

import msgspec

from llmos.syscalls.abi import encoders as e
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import ChatMessage, Limits, Origin, ProcessInfo, Record
from llmos.syscalls.sdk.protocol import Failed, Happened, Replied
from llmos.syscalls.sdk.vectors import Classifications, Vectors
from llmos.syscalls.wire.codec import decode_record

Reply = TypeVar("Reply", bound=Record)
Result = TypeVar("Result")
Built = TypeVar("Built", bound=Record)

WINDOW = 64
"""How many chunks of a generation may be under way or unread."""

Content = str | Sequence[ChatMessage | Mapping[str, object]] | Sequence[int]
"""What can be appended: text, chat messages, or token ids."""


Schema = Mapping[str, object] | str | bool
"""A JSON schema: as Python has it, or its JSON text; True is any JSON."""


class SamplingOptions(TypedDict, total=False):
    """The keyword arguments of `generate`."""

    max_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    ignore_eos: bool
    logprobs: int
    schema: Schema | None
    regex: str | None
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Invocation(Generic[Reply, Result]):
    """A call to make, and what its caller gets. `own_timeout`: the time-out is among the arguments."""

    call: str
    request: Record
    reply: type[Reply]
    shape: Callable[[Reply], Result]
    own_timeout: float | None = None

    def result(self, event: Happened | Replied | Failed) -> Result:
        """The result, from the call's last event; raises its error."""
        match event:
            case Failed(error):
                raise error
            case Happened(raw) | Replied(raw):
                return self.shape(decode_record(self.reply, raw))


def build(kind: type[Built], /, **arguments: object) -> Built:
    """A request of checked arguments. Raises `InvalidArgument`."""
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise InvalidArgument(str(error), "see the signature; docs/abi.md lists the bounds") from None


# --- proc


def spawn(
    model: str | None,
    name: str | None,
    priority: str,
    weight: int,
    deadline: float | None,
    limits: Limits | Mapping[str, object] | None,
    system: str | None,
) -> Invocation[m.Spawned, int]:
    """Gives the pid."""
    request = build(
        m.Spawn,
        model=model,
        name=name,
        priority=priority,
        weight=weight,
        deadline=deadline,
        limits=limits if limits is not None else Limits(),
        system=system,
    )
    return Invocation("proc.spawn", request, m.Spawned, lambda reply: reply.pid)


def fork(pid: int, count: int) -> Invocation[m.Forked, tuple[int, ...]]:
    """Gives the pids of the children."""
    return Invocation("proc.fork", build(m.Fork, pid=pid, count=count), m.Forked, lambda reply: reply.pids)


def signal(pid: int, name: str) -> Invocation[m.Done, None]:
    """`name` is one of stop, cont, term, kill, usr1."""
    return Invocation("proc.signal", build(m.SendSignal, pid=pid, signal=name), m.Done, _nothing)


def wait(pid: int, timeout: float | None) -> Invocation[m.ExitStatus, m.ExitStatus]:
    """Gives `.code` and `.reason`."""
    request = build(m.Wait, pid=pid, timeout=timeout)
    return Invocation("proc.wait", request, m.ExitStatus, itself, timeout)


def info(pid: int) -> Invocation[ProcessInfo, ProcessInfo]:
    """Gives the line of the process table."""
    return Invocation("proc.info", build(m.OnProcess, pid=pid), ProcessInfo, itself)


def processes(all: bool) -> Invocation[m.Processes, list[ProcessInfo]]:
    """Gives the process table."""
    request = build(m.ListProcesses, all=all)
    return Invocation("proc.list", request, m.Processes, lambda reply: list(reply.processes))


def renice(pid: int, priority: str | None, weight: int | None) -> Invocation[ProcessInfo, ProcessInfo]:
    """Gives the process as it is then."""
    request = build(m.Renice, pid=pid, priority=priority, weight=weight)
    return Invocation("proc.renice", request, ProcessInfo, itself)


def limit(pid: int, limits: Mapping[str, float | None]) -> Invocation[ProcessInfo, ProcessInfo]:
    """A limit that is None becomes unlimited; one that is not named stays."""
    bounds = {name: bound for name, bound in limits.items() if bound is not None}
    clear = tuple(name for name, bound in limits.items() if bound is None)
    request = build(m.SetLimits, pid=pid, limits=bounds, clear=clear)
    return Invocation("proc.limits", request, ProcessInfo, itself)


def swap_out(pid: int, tier: str) -> Invocation[m.Swapped, int]:
    """Gives the number of pages."""
    return Invocation("proc.swap_out", build(m.SwapOut, pid=pid, tier=tier), m.Swapped, _pages)


def swap_in(pid: int) -> Invocation[m.Swapped, int]:
    """Gives the number of pages."""
    return Invocation("proc.swap_in", build(m.OnProcess, pid=pid), m.Swapped, _pages)


def why(pid: int) -> Invocation[m.Why, m.Why]:
    """Gives what the process waits for and its history."""
    return Invocation("proc.why", build(m.OnProcess, pid=pid), m.Why, itself)


# --- ctx


def append(
    pid: int, content: Content, origin: Origin | Mapping[str, object] | None = None
) -> Invocation[m.Appended, int]:
    """Gives the number of tokens that were added."""
    if isinstance(content, str):
        request = build(m.Append, pid=pid, text=content, origin=origin)
    elif not content:
        raise InvalidArgument("there is nothing to append", "give text, messages or token ids")
    elif isinstance(content[0], ChatMessage | Mapping):
        request = build(m.Append, pid=pid, messages=tuple(content), origin=origin)
    else:
        request = build(m.Append, pid=pid, tokens=tuple(content), origin=origin)
    return Invocation("ctx.append", request, m.Appended, lambda reply: reply.tokens)


def read(pid: int) -> Invocation[m.Context, m.Context]:
    """Gives `.token_ids` and `.text`."""
    return Invocation("ctx.read", build(m.OnProcess, pid=pid), m.Context, itself)


def truncate(pid: int, length: int) -> Invocation[m.Appended, int]:
    """Gives the length of the context then."""
    return Invocation("ctx.truncate", build(m.Truncate, pid=pid, length=length), m.Appended, _context_tokens)


def rewind(pid: int, count: int) -> Invocation[m.Appended, int]:
    """Gives the length of the context then."""
    return Invocation("ctx.rewind", build(m.Rewind, pid=pid, count=count), m.Appended, _context_tokens)


def advise(pid: int, will_need: bool) -> Invocation[m.Done, None]:
    """Says whether the pages will be needed soon."""
    return Invocation("ctx.advise", build(m.Advise, pid=pid, will_need=will_need), m.Done, _nothing)


# --- gen


def generate(pid: int, options: SamplingOptions, window: int) -> Invocation[m.Generated, m.Generated]:
    """Gives the whole of the generation; `window` is the credit that its stream begins with."""
    sampling = {name: value for name, value in options.items() if name != "timeout"}
    sampling["schema"] = schema_text(options.get("schema"))
    stop = options.get("stop")
    sampling["stop"] = (stop,) if isinstance(stop, str) else tuple(stop or ())
    timeout = options.get("timeout")
    request = build(m.Generate, pid=pid, sampling=sampling, window=window, timeout=timeout)
    return Invocation("gen.generate", request, m.Generated, itself, timeout)


Continuations = Sequence[str] | Sequence[Sequence[int]]
"""What can be scored: texts, or token ids."""


def cancel(pid: int) -> Invocation[m.Done, None]:
    """Ends the generation that a process has under way, whoever began it."""
    return Invocation("gen.cancel", build(m.OnProcess, pid=pid), m.Done, _nothing)


def score(
    pid: int, continuations: Continuations, timeout: float | None
) -> Invocation[m.Scores, list[m.ContinuationScore]]:
    """Gives one score for each continuation."""
    if isinstance(continuations, str) or not continuations:
        raise InvalidArgument("score takes a list of continuations", "a list of texts, or a list of lists of token ids")
    if isinstance(continuations[0], str):
        request = build(m.Score, pid=pid, texts=tuple(continuations), timeout=timeout)
    else:
        request = build(m.Score, pid=pid, tokens=tuple(continuations), timeout=timeout)
    return Invocation("gen.score", request, m.Scores, lambda reply: list(reply.scores), timeout)


def schema_text(schema: object) -> str | None:
    """A JSON schema as JSON text: text stays as it is, anything else is written down. Raises `InvalidArgument`."""
    if schema is None or isinstance(schema, str):
        return schema
    try:
        return msgspec.json.encode(schema).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"schema is no JSON: {error}", "a dict, True, or JSON text") from None


def question(pid: int, text: str) -> Invocation[m.Appended, int]:
    """Appends the user's turn."""
    return append(pid, [{"role": "user", "content": text}])


def embed(texts: Sequence[str], model: str | None, priority: str) -> Invocation[e.Embedded, Vectors]:
    """Gives one vector for each text."""
    request = build(e.Embed, texts=_texts(texts), model=model, priority=priority)
    return Invocation("gen.embed", request, e.Embedded, Vectors)


def classify(
    texts: Sequence[str], labels: Sequence[str], model: str | None, template: str | None, priority: str
) -> Invocation[e.Classified, Classifications]:
    """Gives one classification for each text."""
    request = build(
        e.Classify,
        texts=_texts(texts),
        labels=tuple(labels),
        model=model,
        template=template if template is not None else e.TEMPLATE,
        priority=priority,
    )
    return Invocation("gen.classify", request, e.Classified, Classifications)


# --- sys


def system_info() -> Invocation[m.SystemInfo, m.SystemInfo]:
    """Gives the daemon and its engines."""
    return Invocation("sys.info", m.Nothing(), m.SystemInfo, itself)


def metrics() -> Invocation[m.Metrics, tuple[m.Metric, ...]]:
    """Gives all counters and gauges."""
    return Invocation("sys.metrics", m.Nothing(), m.Metrics, lambda reply: reply.metrics)


def drain(off: bool, timeout: float | None) -> Invocation[m.Done, None]:
    """Finishes what runs and takes nothing new; `off` takes it back."""
    return Invocation("sys.drain", build(m.Drain, off=off, timeout=timeout), m.Done, _nothing, timeout)


def shutdown() -> Invocation[m.Done, None]:
    """Ends the daemon."""
    return Invocation("sys.shutdown", m.Nothing(), m.Done, _nothing)


def itself(reply: Reply) -> Reply:
    """The result that is the reply."""
    return reply


def _nothing(_: m.Done) -> None:
    return None


def _texts(texts: Sequence[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        raise InvalidArgument("texts are a list, and this is one text", "put it into a list: [text]")
    return tuple(texts)


def _pages(reply: m.Swapped) -> int:
    return reply.pages


def _context_tokens(reply: m.Appended) -> int:
    return reply.context_tokens
