"""The calls of long-term memory: `mem.*`.

It does not know how memory is kept or found. Rules: everything is done beside the loop; what is acknowledged is on the
disk. A text is written even when no vector can be had for it, and gets one later; a search by both words and meaning
falls back to words. What was derived from a version that is taken back is told as far as the caller may see the
processes and namespaces it is in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.core.process import Process
from llmos.kernel.gate.calls.beside import in_threads
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.vectors import Vectors
from llmos.kernel.gate.channel import Channel
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.encoder import Embedding
from llmos.kernel.ports.memory import Context, ContextTrace, Draft, ItemTrace, Memory, Question, TakenBack, Trace
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import OwnedName
from llmos.kernel.security.objects import Owner, named_by, processes_target
from llmos.syscalls.abi import memory as m
from llmos.syscalls.abi.errors import Error, InvalidArgument
from llmos.syscalls.abi.words import Pid, PriorityClass

_OBJECT = "mem:/"
_WRITE_IN_THE_NAME = "ctx.append"


class MemoryCalls:
    """One method per call. `new_id` gives ids that nothing has yet."""

    def __init__(
        self,
        shell: Shell,
        membrane: Membrane,
        memory: Memory,
        vectors: Vectors,
        new_id: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shell = shell
        self._membrane = membrane
        self._memory = memory
        self._vectors = vectors
        self._new_id = new_id
        self._clock = clock

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("mem.put", m.MemoryPut, self.put),
                row("mem.get", m.MemoryGet, self.get),
                row("mem.search", m.MemorySearch, self.search),
                row("mem.list", m.MemoryList, self.list),
                row("mem.forget", m.MemoryForget, self.forget),
                row("mem.history", m.MemoryHistory, self.history),
                row("mem.rollback", m.MemoryRollback, self.rollback),
            )
        )

    def put(self, by: Authorized, request: m.MemoryPut, channel: Channel) -> None:
        context, now = self._context(by, request.pid), self._clock()
        draft = Draft(
            namespace=_namespace(by),
            id=request.id or self._new_id(),
            text=request.text,
            author=by.principal.name,
            metadata=request.metadata,
            trust=request.trust,
            expires=None if request.expires is None else now + request.expires,
            context=context,
            expected=request.expected,
        )

        def write(vector: Embedding | Error) -> None:
            known = vector if isinstance(vector, Embedding) else None
            written = self._memory.put(draft, known, self._clock())
            in_threads(self._loop, written, tell, channel)

        def tell(record: m.MemoryRecord) -> None:
            channel.reply(record)
            self._vectors.fill_soon()

        self._vectors.of_text(request.text, by.principal.name, self._priority(context), write)

    def get(self, by: Authorized, request: m.MemoryGet, channel: Channel) -> None:
        context = self._context(by, request.pid)
        found = self._memory.get(_namespace(by), request.id, request.version, context, self._clock())
        in_threads(self._loop, found, channel.reply, channel)

    def search(self, by: Authorized, request: m.MemorySearch, channel: Channel) -> None:
        question = Question(
            namespace=_namespace(by),
            query=request.query,
            limit=request.limit,
            mode=request.mode,
            where=request.where,
            context=self._context(by, request.pid),
        )
        vector: Future[Embedding | None] = Future()
        in_threads(self._loop, self._memory.search(question, vector, self._clock()), channel.reply, channel)

        def found(result: Embedding | Error) -> None:
            if isinstance(result, Embedding):
                vector.set_result(result)
            elif request.mode is m.SearchMode.VECTOR:
                vector.set_exception(_without_meaning(result))
            else:
                vector.set_result(None)

        if request.mode is m.SearchMode.TEXT:
            vector.set_result(None)
            return
        take_back = self._vectors.of_text(request.query, by.principal.name, self._priority(question.context), found)
        channel.on_end(lambda ending: take_back())

    def list(self, by: Authorized, request: m.MemoryList, channel: Channel) -> None:
        found = self._memory.list(_namespace(by), request.where, request.limit, request.after, self._clock())
        in_threads(self._loop, found, channel.reply, channel)

    def forget(self, by: Authorized, request: m.MemoryForget, channel: Channel) -> None:
        if sum((request.id is not None, bool(request.where), request.all)) != 1:
            raise InvalidArgument(
                "what to forget is an id, or filters, or all: exactly one of them", "`all` empties the namespace"
            )
        forgotten = self._memory.forget(_namespace(by), request.id, request.where, self._clock())
        in_threads(self._loop, forgotten, channel.reply, channel)

    def history(self, by: Authorized, request: m.MemoryHistory, channel: Channel) -> None:
        found = self._memory.history(_namespace(by), request.id, request.limit, request.after, self._clock())
        in_threads(self._loop, found, channel.reply, channel)

    def rollback(self, by: Authorized, request: m.MemoryRollback, channel: Channel) -> None:
        who = by.principal
        taken = self._memory.rollback(_namespace(by), request.id, request.version, who.name, self._clock())

        def tell(taken: TakenBack) -> None:
            seen = (trace for trace in taken.traces if self._may_see(who, trace))
            channel.reply(m.RolledBack(taken.record, tuple(map(_derived, seen))))
            self._vectors.fill_soon()

        in_threads(self._loop, taken, tell, channel)

    # --- inside

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._shell.loop

    def _context(self, by: Authorized, pid: int | None) -> Context | None:
        """The process that a call is made for; who may append to it may let it read and write here."""
        if pid is None:
            return None
        self._membrane.authorize_process(by.principal, Pid(pid), _WRITE_IN_THE_NAME)
        return context_of(self._shell.kernel.table.living(Pid(pid)))

    def _priority(self, context: Context | None) -> PriorityClass:
        process = self._shell.kernel.table.find(context.pid) if context is not None else None
        return process.priority if process is not None else PriorityClass.NORMAL

    def _may_see(self, who: Principal, trace: Trace) -> bool:
        match trace:
            case ContextTrace(context=context):
                target = processes_target(Owner(context.principal, context.tenant))
                return self._membrane.permits(who, target, "proc.info")
            case ItemTrace(namespace=namespace):
                owner, _, name = namespace.partition("/")
                target = named_by("mem", OwnedName(owner, name), who, self._membrane.holders)
                return self._membrane.permits(who, target, "mem.history")


def context_of(process: Process) -> Context:
    """A process as memory knows it."""
    return Context(process.pid, process.principal, process.tenant)


def _namespace(by: Authorized) -> str:
    return by.object.removeprefix(_OBJECT)


def _without_meaning(error: Error) -> Error:
    return type(error)(
        f"a search by meaning needs the vector of its query: {error.message}", "the modes text and hybrid do without"
    )


def _derived(trace: Trace) -> m.Derived:
    match trace:
        case ContextTrace(context=context, version=version, at=at):
            return m.Derived(version, at, pid=context.pid)
        case ItemTrace(namespace=namespace, id=id, version=version, at=at):
            return m.Derived(version, at, namespace=namespace, id=id)
