"""Context calls that need the tokenizer. Long texts are encoded beside the loop, so that nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.process import Process
from llmos.kernel.core.provenance import Span
from llmos.kernel.gate.channel import Channel
from llmos.kernel.loop.authority import check_reading
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.text import TextCodec, Turn, TurnKind
from llmos.syscalls.abi.errors import Error, InvalidArgument
from llmos.syscalls.abi.messages import Append, Appended, Context, ContextSpan
from llmos.syscalls.abi.words import KeyKind, Origin, OriginKind, Pid, Role

Tokens = tuple[int, ...]
Result = TypeVar("Result")

AT_ONCE = 4096
"""Characters that are encoded, and tokens that are decoded, in the loop itself."""


def append(by: Authorized, shell: Shell, request: Append, channel: Channel) -> None:
    """Append exactly one of text, messages and tokens."""
    if sum(given is not None for given in (request.text, request.messages, request.tokens)) != 1:
        raise InvalidArgument("append takes exactly one of text, messages and tokens")
    if request.tools is not None and request.messages is None:
        raise InvalidArgument("tools are told together with messages", "append messages")
    _check_origin(request.origin)
    if request.tokens is not None:
        _commit(by, shell, request, request.tokens, None, channel)
    else:
        _append_text(by, shell, request, channel)


def read(by: Authorized, shell: Shell, pid: Pid, channel: Channel) -> None:
    """The context as it is now, with its text."""
    check_reading(by, pid, "ctx.read")
    process = shell.kernel.table.living(pid)
    codec, tokens, spans = shell.models[process.model].text, tuple(process.tokens), tuple(process.spans)
    later(shell, len(tokens), lambda: _view(codec, tokens, spans), channel.reply, channel)


def _view(codec: TextCodec, tokens: Tokens, spans: tuple[Span, ...]) -> Context:
    parts = (
        ContextSpan(span.start, span.end, codec.decode(tokens[span.start : span.end]), span.origin) for span in spans
    )
    return Context(tokens, codec.decode(tokens), tuple(parts))


def encode_then(
    shell: Shell, size: int, encode: Callable[[], Tokens], commit: Callable[[Tokens], None], channel: Channel
) -> None:
    """Encode `size` characters, then commit in the loop; an abi error of either becomes the answer."""
    later(shell, size, encode, commit, channel)


def _append_text(by: Authorized, shell: Shell, request: Append, channel: Channel) -> None:
    process = shell.kernel.table.living(Pid(request.pid))
    turn, length = shell.turn_of(process), len(process.tokens)
    codec = shell.models[process.model].text

    def commit(tokens: Tokens) -> None:
        now = shell.kernel.table.living(process.pid)
        if (shell.turn_of(now), len(now.tokens)) != (turn, length):
            _append_text(by, shell, request, channel)
            return
        _commit(by, shell, request, tokens, _closed_role(request), channel)

    encode_then(shell, _size(request), lambda: _encode(codec, request, turn), commit, channel)


def _encode(codec: TextCodec, request: Append, turn: Turn) -> Tokens:
    if request.messages is not None:
        if not request.messages:
            raise InvalidArgument("append takes at least one message")
        return codec.encode_chat(request.messages, turn, request.tools)
    return codec.encode(request.text or "", first=turn.kind is TurnKind.EMPTY)


def _closed_role(request: Append) -> Role | None:
    """After a question the assistant's turn is open; after any other message the conversation stands still."""
    if not request.messages or request.messages[-1].role in (Role.USER, Role.TOOL):
        return None
    return request.messages[-1].role


def _commit(
    by: Authorized, shell: Shell, request: Append, tokens: Tokens, closed: Role | None, channel: Channel
) -> None:
    pid = Pid(request.pid)
    shell.perform(by, ev.Append(pid, tokens, closed, _origin(by, request)))
    process: Process = shell.kernel.table.get(pid)
    told = shell.models[process.model].text.tool_format if request.tools is not None else None
    channel.reply(Appended(len(tokens), len(process.tokens), told))


def origin_of(by: Authorized) -> Origin:
    """What somebody appends comes from them."""
    return Origin(_KINDS[by.principal.kind], by.principal.name)


def _origin(by: Authorized, request: Append) -> Origin:
    """From the caller, unless it says that it comes from elsewhere; a tool's message from some tool."""
    said = request.origin
    if said is not None:
        return replace(said, by=by.principal.name)
    if request.messages and all(message.role is Role.TOOL for message in request.messages):
        return Origin(OriginKind.TOOL, by.principal.name)
    return origin_of(by)


def _check_origin(origin: Origin | None) -> None:
    if origin is not None and origin.kind not in _SAID:
        raise InvalidArgument(
            f"a caller cannot say that what it appends comes from the {origin.kind}",
            f"origins that can be given: {' '.join(sorted(_SAID))}",
        )


_SAID = frozenset({OriginKind.TOOL, OriginKind.MEMORY, OriginKind.PROCESS})
_KINDS = {
    KeyKind.USER: OriginKind.USER,
    KeyKind.APP: OriginKind.APP,
    KeyKind.SERVICE: OriginKind.SERVICE,
    KeyKind.ENGINE: OriginKind.SERVICE,
}


def _size(request: Append) -> int:
    if request.messages is not None:
        return sum(len(message.content) for message in request.messages) + len(request.tools or "")
    return len(request.text or "")


def later(
    shell: Shell, size: int, work: Callable[[], Result], then: Callable[[Result], None], channel: Channel
) -> None:
    """Do work about `size` characters or tokens beside the loop if it is long, then `then` with its result in the loop;
    an abi error of either becomes the answer.
    """
    if size <= AT_ONCE:
        then(work())
        return

    def done(future: asyncio.Future[Result]) -> None:
        if channel.over:
            return
        try:
            then(future.result())
        except Error as error:
            channel.fail(error)

    shell.loop.run_in_executor(None, work).add_done_callback(done)
