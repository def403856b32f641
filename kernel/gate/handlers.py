"""What the kernel does for each call of the table. Every handler is given the membrane's `Authorized`.

By the time a handler runs its request is decoded, typed and authorised. It answers through the channel, at once or
later; an abi
error that it raises is the caller's and becomes the answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from llmos.kernel.core import events as ev
from llmos.kernel.core import views
from llmos.kernel.core.process import Exit
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.gate.contexts import append, encode_then, read
from llmos.kernel.gate.generations import generate
from llmos.kernel.gate.membrane import Authorized, Membrane
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.text import Turn, TurnKind
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Error, InvalidArgument, NotSupported, OutOfPages, TimedOut
from llmos.syscalls.abi.table import BY_NAME, Call
from llmos.syscalls.abi.words import INIT, PROTOCOL_VERSION, ChatMessage, Pid, ProcessInfo, Record, Role, Signal, Tier

MAX_FORKED_TOKENS = 1 << 24
"""Context tokens that the children of one fork may have together."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What `sys.info` says about the daemon, and what only the daemon can do."""

    version: str
    home: str
    started: float
    default_model: str
    next_pid: Callable[[], Pid]
    new_seed: Callable[[], int]
    stop: Callable[[], None]


class Handlers:
    """Performs calls on a running kernel. One method per call."""

    def __init__(self, shell: Shell, membrane: Membrane, facts: Facts) -> None:
        self._shell = shell
        self._kernel = shell.kernel
        self._membrane = membrane
        self._facts = facts
        self._table = _table(self)

    def dispatch(self, authorized: Authorized, call: Call, request: Record, channel: Channel) -> None:
        """Begin a call. Raises the abi error of a call that is refused."""
        self._table[call.name](authorized, request, channel)

    # --- proc

    def spawn(self, by: Authorized, request: m.Spawn, channel: Channel) -> None:
        model = request.model or self._facts.default_model
        self._kernel.engine(model)
        if request.parent is not None:
            self._membrane.authorize_process(by.principal, Pid(request.parent), by.action)
        if request.name is not None and not request.name.isprintable():
            raise InvalidArgument("the name of a process must be printable")
        if request.system is None:
            channel.reply(m.Spawned(self._spawn(by, request, model, ()), model))
            return
        codec, messages = self._shell.models[model].text, (ChatMessage(Role.SYSTEM, request.system),)
        encode_then(
            self._shell,
            len(request.system),
            lambda: codec.encode_chat(messages, Turn(TurnKind.EMPTY)),
            lambda tokens: channel.reply(m.Spawned(self._spawn(by, request, model, tokens), model)),
            channel,
        )

    def _spawn(self, by: Authorized, request: m.Spawn, model: str, system: tuple[int, ...]) -> Pid:
        pid = self._facts.next_pid()
        self._shell.tell(
            ev.Spawn(
                pid=pid,
                parent=Pid(request.parent) if request.parent is not None else INIT,
                name=request.name or f"process-{pid}",
                app="",
                principal=by.principal.name,
                model=model,
                priority=request.priority,
                weight=request.weight,
                deadline=self._shell.now + request.deadline if request.deadline is not None else None,
                limits=request.limits,
            )
        )
        if system:
            self._give_system(by, pid, system)
        return pid

    def _give_system(self, by: Authorized, pid: Pid, system: tuple[int, ...]) -> None:
        """The first message of a new process; a process that cannot take it is not left behind."""
        try:
            self._shell.tell(ev.Append(pid, system, Role.SYSTEM))
        except Error:
            self._shell.tell(ev.SendSignal(pid, Signal.KILL, by.principal.name))
            self._shell.tell(ev.Reap(pid))
            raise

    def fork(self, by: Authorized, request: m.Fork, channel: Channel) -> None:
        parent = self._kernel.table.living(Pid(request.pid))
        if len(parent.tokens) * request.count > MAX_FORKED_TOKENS:
            raise InvalidArgument(
                f"{request.count} children with {len(parent.tokens)} tokens each are too many at once", "fork fewer"
            )
        children = tuple(self._facts.next_pid() for _ in range(request.count))
        self._shell.tell(ev.Fork(parent.pid, children))
        channel.reply(m.Forked(children))

    def signal(self, by: Authorized, request: m.SendSignal, channel: Channel) -> None:
        self._shell.tell(ev.SendSignal(Pid(request.pid), request.signal, by.principal.name))
        channel.reply(m.Done())

    def wait(self, by: Authorized, request: m.Wait, channel: Channel) -> None:
        pid = Pid(request.pid)

        def exited(exit: Exit) -> None:
            forget_timer()
            channel.reply(m.ExitStatus(pid, exit.code, exit.reason))

        def timed_out() -> None:
            forget()
            channel.fail(TimedOut(f"process {pid} has not exited within {request.timeout} s", f"llmosctl why {pid}"))

        def ended(ending: Ending) -> None:
            forget_timer()
            forget()

        timer = self._shell.loop.call_later(request.timeout, timed_out) if request.timeout is not None else None

        def forget_timer() -> None:
            if timer is not None:
                timer.cancel()

        forget = self._shell.when_exited(pid, exited)
        if not channel.over:
            channel.on_end(ended)

    def info(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        channel.reply(self._info(Pid(request.pid)))

    def list(self, by: Authorized, request: m.ListProcesses, channel: Channel) -> None:
        shown = [
            views.process_info(process, self._shell.now, self._shell.epoch)
            for process in self._kernel.table
            if (request.all or process.alive)
            and self._membrane.permits(by.principal, process.principal, BY_NAME["proc.info"].name)
        ]
        channel.reply(m.Processes(tuple(shown)))

    def renice(self, by: Authorized, request: m.Renice, channel: Channel) -> None:
        pid = Pid(request.pid)
        self._shell.tell(ev.Renice(pid, request.priority, request.weight, by.principal.name))
        channel.reply(self._info(pid))

    def limits(self, by: Authorized, request: m.SetLimits, channel: Channel) -> None:
        pid = Pid(request.pid)
        self._shell.tell(ev.SetLimits(pid, request.limits, request.clear, by.principal.name))
        channel.reply(self._info(pid))

    def swap_out(self, by: Authorized, request: m.SwapOut, channel: Channel) -> None:
        if request.tier is Tier.DISK:
            raise NotSupported("the disk tier is not there yet", "swap out to host")
        if request.tier is Tier.DEVICE:
            raise InvalidArgument("swapping out to the device means nothing", "swap out to host")
        self._swap(request.pid, channel, out=True)

    def swap_in(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        self._swap(request.pid, channel, out=False)

    def why(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        channel.reply(views.why(self._kernel, self._kernel.table.get(Pid(request.pid)), self._shell.epoch))

    # --- ctx

    def append(self, by: Authorized, request: m.Append, channel: Channel) -> None:
        append(self._shell, request, channel)

    def read(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        read(self._shell, Pid(request.pid), channel)

    def truncate(self, by: Authorized, request: m.Truncate, channel: Channel) -> None:
        self._truncate(Pid(request.pid), request.length, channel)

    def rewind(self, by: Authorized, request: m.Rewind, channel: Channel) -> None:
        pid = Pid(request.pid)
        length = len(self._kernel.table.living(pid).tokens)
        if request.count > length:
            raise InvalidArgument(f"process {pid} has {length} tokens, {request.count} cannot be dropped")
        self._truncate(pid, length - request.count, channel)

    def advise(self, by: Authorized, request: m.Advise, channel: Channel) -> None:
        pid = Pid(request.pid)
        if request.will_need:
            self._shell.tell(ev.Prefetch(pid))
        else:
            self._shell.when_swapped(pid, out=True, callback=lambda pages, short: None)
        channel.reply(m.Done())

    # --- gen

    def generate(self, by: Authorized, request: m.Generate, channel: Channel) -> None:
        generate(self._shell, request, self._facts.new_seed, channel)

    def cancel(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        self._shell.tell(ev.EndGeneration(Pid(request.pid), stopped=False))
        channel.reply(m.Done())

    # --- sys

    def sys_info(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        channel.reply(
            m.SystemInfo(
                version=self._facts.version,
                protocol=PROTOCOL_VERSION,
                home=self._facts.home,
                os_pid=os.getpid(),
                started=self._facts.started,
                principal=by.principal.name,
                draining=self._kernel.draining,
                scheduler=self._kernel.settings.policy.name,
                processes=sum(process.alive for process in self._kernel.table),
                engines=tuple(self._engine_info(name) for name in self._kernel.engines),
            )
        )

    def metrics(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        channel.reply(m.Metrics(views.metrics(self._kernel)))

    def drain(self, by: Authorized, request: m.Drain, channel: Channel) -> None:
        self._shell.tell(ev.SetDraining(not request.off))
        if request.off:
            channel.reply(m.Done())
            return
        _reply_when_idle(self._shell, request.timeout, channel)

    def shutdown(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        channel.reply(m.Done())
        self._shell.loop.call_soon(self._facts.stop)

    # --- inside

    def _info(self, pid: Pid) -> ProcessInfo:
        return views.process_info(self._kernel.table.get(pid), self._shell.now, self._shell.epoch)

    def _engine_info(self, model: str) -> m.EngineInfo:
        return views.engine_info(self._kernel.engines[model], self._shell.engine_os_pid(model))

    def _truncate(self, pid: Pid, length: int, channel: Channel) -> None:
        before = len(self._kernel.table.living(pid).tokens)
        self._shell.tell(ev.Truncate(pid, length))
        channel.reply(m.Appended(length - before, length))

    def _swap(self, number: int, channel: Channel, out: bool) -> None:
        def settled(pages: int, short: str) -> None:
            if short:
                channel.fail(OutOfPages(f"{pages} pages were moved, then there was no room: {short}"))
            else:
                channel.reply(m.Swapped(pages))

        self._shell.when_swapped(Pid(number), out, settled)


Handler = Callable[[Authorized, Record, Channel], None]
Request = TypeVar("Request", bound=Record)


def _taking(kind: type[Request], handler: Callable[[Authorized, Request, Channel], None]) -> Handler:
    """The handler for requests of one type; the codec made sure that no other comes."""

    def checked(by: Authorized, request: Record, channel: Channel) -> None:
        if not isinstance(request, kind):
            raise TypeError(f"{by.action} got a {type(request).__name__}")
        handler(by, request, channel)

    return checked


def _table(handlers: Handlers) -> dict[str, Handler]:
    table: dict[str, Handler] = {
        "proc.spawn": _taking(m.Spawn, handlers.spawn),
        "proc.fork": _taking(m.Fork, handlers.fork),
        "proc.signal": _taking(m.SendSignal, handlers.signal),
        "proc.wait": _taking(m.Wait, handlers.wait),
        "proc.info": _taking(m.OnProcess, handlers.info),
        "proc.list": _taking(m.ListProcesses, handlers.list),
        "proc.renice": _taking(m.Renice, handlers.renice),
        "proc.limits": _taking(m.SetLimits, handlers.limits),
        "proc.swap_out": _taking(m.SwapOut, handlers.swap_out),
        "proc.swap_in": _taking(m.OnProcess, handlers.swap_in),
        "proc.why": _taking(m.OnProcess, handlers.why),
        "ctx.append": _taking(m.Append, handlers.append),
        "ctx.read": _taking(m.OnProcess, handlers.read),
        "ctx.truncate": _taking(m.Truncate, handlers.truncate),
        "ctx.rewind": _taking(m.Rewind, handlers.rewind),
        "ctx.advise": _taking(m.Advise, handlers.advise),
        "gen.generate": _taking(m.Generate, handlers.generate),
        "gen.cancel": _taking(m.OnProcess, handlers.cancel),
        "sys.info": _taking(m.Nothing, handlers.sys_info),
        "sys.metrics": _taking(m.Nothing, handlers.metrics),
        "sys.drain": _taking(m.Drain, handlers.drain),
        "sys.shutdown": _taking(m.Nothing, handlers.shutdown),
    }
    if table.keys() != BY_NAME.keys():
        raise AssertionError(f"calls without handler or handlers without call: {table.keys() ^ BY_NAME.keys()}")
    return table


def _reply_when_idle(shell: Shell, timeout: float | None, channel: Channel) -> None:
    def idle() -> None:
        if timer is not None:
            timer.cancel()
        channel.reply(m.Done())

    def timed_out() -> None:
        forget()
        channel.fail(TimedOut(f"processes still generate after {timeout} s", "llmosctl ps shows them"))

    def ended(ending: Ending) -> None:
        forget()
        if timer is not None:
            timer.cancel()

    timer = shell.loop.call_later(timeout, timed_out) if timeout is not None else None
    forget = shell.when_idle(idle)
    channel.on_end(ended)
