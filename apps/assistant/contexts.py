"""The process of the daemon that holds a session: found again, brought to where the transcript is, or made anew.

Rules: what the transcript says is what holds; a process whose context is another is replaced. Processes of the same
name that do not hold the session are left over from alternatives, and are ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

import llmos

from .records import Part
from .transcript import Transcript

PATIENCE = 60.0
"""Seconds until a process must have come to rest."""
_PAUSE = 0.02


def title(session: str) -> str:
    """The name of its processes."""
    return f"assistant {session}"


def hold(system: llmos.System, session: str, transcript: Transcript) -> llmos.Process:
    """A process with the context of the transcript and nothing under way; another pid than before if it had gone."""
    found = others_ended(system, session, transcript.pid)
    if found is not None and any(True for _ in transcript.parts) and _settled(found, transcript.tokens):
        return found
    if found is not None:
        found.end()
    return _made(system, session, transcript)


def spawned(system: llmos.System, session: str, model: str | None, message: str) -> llmos.Process:
    """A process for a session that begins. Raises `llmos.NotFound` when there is no such model."""
    return system.spawn(model=model, name=title(session), system=message)


def parts_after(process: llmos.Process, length: int) -> tuple[Part, ...]:
    """What a context has got after so many tokens, by where it comes from."""
    context = process.read()
    return tuple(
        Part(context.token_ids[max(span.start, length) : span.end], _given(span.origin))
        for span in context.spans
        if span.end > length
    )


def _given(origin: llmos.Origin) -> llmos.Origin | None:
    """The origin as it can be given again; what is the app's own or the model's needs none."""
    if origin.kind not in (llmos.OriginKind.TOOL, llmos.OriginKind.MEMORY, llmos.OriginKind.PROCESS):
        return None
    return llmos.Origin(origin.kind, name=origin.name, id=origin.id, version=origin.version, pid=origin.pid)


def others_ended(system: llmos.System, session: str, pid: int | None) -> llmos.Process | None:
    """The process with this pid, if it is one of the session; all others of the session are ended."""
    own, found = system.whoami().name, None
    for info in system.processes():
        if info.name != title(session) or info.principal != own:
            continue
        if info.pid == pid:
            found = system.process(info.pid)
        else:
            system.process(info.pid).end()
    return found


def _settled(process: llmos.Process, tokens: Sequence[int]) -> bool:
    """Whether the context begins with these tokens; then it is cut to them. What is under way is cancelled."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            process.cancel()
            if process.read().token_ids[: len(tokens)] != tuple(tokens):
                return False
            process.truncate(len(tokens))
            return True
        except llmos.NoSuchProcess:
            return False
        except llmos.Busy:
            with suppress(llmos.TimedOut):
                process.wait(_PAUSE)
    return False


def _made(system: llmos.System, session: str, transcript: Transcript) -> llmos.Process:
    """A new process. The system message goes in as a message, so that what follows it is a conversation."""
    opened = transcript.opened
    process = spawned(system, session, opened.model, opened.system)
    if process.read().token_ids != opened.tokens:  # a template that writes the date
        process.truncate(0)
        process.append(list(opened.tokens))
    for part in transcript.parts:
        _append(process, part)
    return process


def _append(process: llmos.Process, part: Part) -> None:
    try:
        process.append(list(part.tokens), part.origin)
    except (llmos.NotFound, llmos.PermissionDenied):  # an item of memory that is gone; what was told stays told
        process.append(list(part.tokens), llmos.Origin(llmos.OriginKind.TOOL, name="memory"))
