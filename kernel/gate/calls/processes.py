"""The calls about processes, their contexts and their generations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from llmos.kernel.core import events as ev
from llmos.kernel.core import views
from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.process import Exit, Process
from llmos.kernel.gate.calls.contexts import append, encode_then, origin_of, read
from llmos.kernel.gate.calls.generations import generate
from llmos.kernel.gate.calls.grammars import Grammars
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.memory_origins import MemoryOrigins
from llmos.kernel.gate.calls.scores import score
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.text import Turn, TurnKind
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import SYSTEM_TARGET, Owner, processes_target
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Error, InvalidArgument, NotSupported, OutOfPages, TimedOut
from llmos.syscalls.abi.words import INIT, ChatMessage, KeyKind, Pid, ProcessInfo, Role, Signal, Tier

MAX_FORKED_TOKENS = 1 << 24
"""Context tokens that the children of one fork may have together."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What new processes and generations need from outside the core."""

    default_model: str
    next_pid: Callable[[], Pid]
    new_seed: Callable[[], int]


class ProcessCalls:
    """One method per call."""

    def __init__(
        self, shell: Shell, membrane: Membrane, grammars: Grammars, origins: MemoryOrigins, sources: Sources
    ) -> None:
        self._shell = shell
        self._origins = origins
        self._grammars = grammars
        self._kernel = shell.kernel
        self._membrane = membrane
        self._sources = sources

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("proc.spawn", m.Spawn, self.spawn),
                row("proc.fork", m.Fork, self.fork),
                row("proc.signal", m.SendSignal, self.signal),
                row("proc.wait", m.Wait, self.wait),
                row("proc.info", m.OnProcess, self.info),
                row("proc.list", m.ListProcesses, self.list),
                row("proc.renice", m.Renice, self.renice),
                row("proc.limits", m.SetLimits, self.limits),
                row("proc.swap_out", m.SwapOut, self.swap_out),
                row("proc.swap_in", m.OnProcess, self.swap_in),
                row("proc.why", m.OnProcess, self.why),
                row("ctx.append", m.Append, self.append),
                row("ctx.read", m.OnProcess, self.read),
                row("ctx.truncate", m.Truncate, self.truncate),
                row("ctx.rewind", m.Rewind, self.rewind),
                row("ctx.advise", m.Advise, self.advise),
                row("gen.generate", m.Generate, self.generate),
                row("gen.score", m.Score, self.score),
                row("gen.cancel", m.OnProcess, self.cancel),
            )
        )

    # --- proc

    def spawn(self, by: Authorized, request: m.Spawn, channel: Channel) -> None:
        model = request.model or self._sources.default_model
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
        pid = self._sources.next_pid()
        self._shell.perform(
            by,
            ev.Spawn(
                pid=pid,
                parent=Pid(request.parent) if request.parent is not None else INIT,
                name=request.name or f"process-{pid}",
                app=by.principal.name if by.principal.kind is KeyKind.APP else "",
                principal=by.principal.name,
                tenant=by.principal.tenant,
                scope=self._membrane.share_scope(by.principal),
                model=model,
                priority=request.priority,
                weight=request.weight,
                deadline=self._shell.now + request.deadline if request.deadline is not None else None,
                limits=request.limits,
            ),
        )
        if system:
            self._give_system(by, pid, system)
        return pid

    def _give_system(self, by: Authorized, pid: Pid, system: tuple[int, ...]) -> None:
        """The first message of a new process; a process that cannot take it is not left behind."""
        try:
            self._shell.perform(by, ev.Append(pid, system, Role.SYSTEM, origin_of(by)))
        except Error:
            self._shell.perform(by, ev.SendSignal(pid, Signal.KILL, by.principal.name))
            self._shell.perform(by, ev.Reap(pid))
            raise

    def fork(self, by: Authorized, request: m.Fork, channel: Channel) -> None:
        parent = self._kernel.table.living(Pid(request.pid))
        if len(parent.tokens) * request.count > MAX_FORKED_TOKENS:
            raise InvalidArgument(
                f"{request.count} children with {len(parent.tokens)} tokens each are too many at once", "fork fewer"
            )
        children = tuple(self._sources.next_pid() for _ in range(request.count))
        self._shell.perform(by, ev.Fork(parent.pid, children))
        self._shell.forked(parent, children)
        channel.reply(m.Forked(children))

    def signal(self, by: Authorized, request: m.SendSignal, channel: Channel) -> None:
        self._shell.perform(by, ev.SendSignal(Pid(request.pid), request.signal, by.principal.name))
        channel.reply(m.Done())

    def wait(self, by: Authorized, request: m.Wait, channel: Channel) -> None:
        _Waiting(self._shell, request, channel).begin(by)

    def info(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        channel.reply(self._info(Pid(request.pid)))

    def list(self, by: Authorized, request: m.ListProcesses, channel: Channel) -> None:
        owners: dict[Owner, bool] = {}

        def visible(process: Process) -> bool:
            owner = Owner(process.principal, process.tenant)
            if owner not in owners:
                owners[owner] = self._membrane.permits(by.principal, processes_target(owner), "proc.info")
            return owners[owner]

        now, epoch = self._shell.now, self._shell.epoch
        found = (process for process in self._kernel.table if (request.all or process.alive) and visible(process))
        channel.reply(m.Processes(tuple(views.process_info(process, now, epoch) for process in found)))

    def renice(self, by: Authorized, request: m.Renice, channel: Channel) -> None:
        pid = Pid(request.pid)
        self._shell.perform(by, ev.Renice(pid, request.priority, request.weight, by.principal.name))
        channel.reply(self._info(pid))

    def limits(self, by: Authorized, request: m.SetLimits, channel: Channel) -> None:
        pid = Pid(request.pid)
        self._shell.perform(by, ev.SetLimits(pid, request.limits, request.clear, by.principal.name))
        channel.reply(self._info(pid))

    def swap_out(self, by: Authorized, request: m.SwapOut, channel: Channel) -> None:
        if request.tier is Tier.DISK:
            raise NotSupported("the disk tier is not there yet", "swap out to host")
        if request.tier is Tier.DEVICE:
            raise InvalidArgument("swapping out to the device means nothing", "swap out to host")
        self._swap(by, ev.SwapOut(Pid(request.pid)), channel)

    def swap_in(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        self._swap(by, ev.SwapIn(Pid(request.pid)), channel)

    def why(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        process = self._kernel.table.get(Pid(request.pid))
        tenant = None if self._membrane.permits(by.principal, SYSTEM_TARGET, "sys.metrics") else by.principal.tenant
        channel.reply(views.why(self._kernel, process, self._shell.epoch, tenant))

    # --- ctx

    def append(self, by: Authorized, request: m.Append, channel: Channel) -> None:
        self._origins.resolve(by, request, lambda known: append(by, self._shell, known, channel), channel)

    def read(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        read(by, self._shell, Pid(request.pid), channel)

    def truncate(self, by: Authorized, request: m.Truncate, channel: Channel) -> None:
        self._truncate(by, Pid(request.pid), request.length, channel)

    def rewind(self, by: Authorized, request: m.Rewind, channel: Channel) -> None:
        pid = Pid(request.pid)
        length = len(self._kernel.table.living(pid).tokens)
        if request.count > length:
            raise InvalidArgument(f"process {pid} has {length} tokens, {request.count} cannot be dropped")
        self._truncate(by, pid, length - request.count, channel)

    def advise(self, by: Authorized, request: m.Advise, channel: Channel) -> None:
        pid = Pid(request.pid)
        if request.will_need:
            self._shell.perform(by, ev.Prefetch(pid))
        else:
            self._shell.when_swapped(by, ev.SwapOut(pid), lambda pages, short: None)
        channel.reply(m.Done())

    # --- gen

    def generate(self, by: Authorized, request: m.Generate, channel: Channel) -> None:
        generate(by, self._shell, self._grammars, request, self._sources.new_seed, channel)

    def score(self, by: Authorized, request: m.Score, channel: Channel) -> None:
        score(by, self._shell, request, self._sources.next_pid, channel)

    def cancel(self, by: Authorized, request: m.OnProcess, channel: Channel) -> None:
        self._shell.perform(by, ev.EndGeneration(Pid(request.pid), stopped=False))
        channel.reply(m.Done())

    # --- inside

    def _info(self, pid: Pid) -> ProcessInfo:
        return views.process_info(self._kernel.table.get(pid), self._shell.now, self._shell.epoch)

    def _truncate(self, by: Authorized, pid: Pid, length: int, channel: Channel) -> None:
        before = len(self._kernel.table.living(pid).tokens)
        self._shell.perform(by, ev.Truncate(pid, length))
        channel.reply(m.Appended(length - before, length))

    def _swap(self, by: Authorized, event: ev.SwapOut | ev.SwapIn, channel: Channel) -> None:
        def settled(pages: int, short: str) -> None:
            if short:
                channel.fail(OutOfPages(f"{pages} pages were moved, then there was no room: {short}"))
            else:
                channel.reply(m.Swapped(pages))

        self._shell.when_swapped(by, event, settled)


class _Waiting:
    """One call that waits for the exit of a process: it is answered by that, by its time-out, or by its end."""

    def __init__(self, shell: Shell, request: m.Wait, channel: Channel) -> None:
        self._shell = shell
        self._pid = Pid(request.pid)
        self._timeout = request.timeout
        self._channel = channel
        self._forget: Callable[[], None] = lambda: None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, by: Authorized) -> None:
        """Wait from now on. Raises abi errors, and then nothing is left behind."""
        self._forget = self._shell.when_exited(by, self._pid, self._exited)
        if self._channel.over:
            return
        self._channel.on_end(self._ended)
        if self._timeout is not None:
            self._timer = self._shell.loop.call_later(self._timeout, self._timed_out)

    def _exited(self, exit: Exit) -> None:
        self._stop_timer()
        self._channel.reply(m.ExitStatus(self._pid, exit.code, exit.reason))

    def _timed_out(self) -> None:
        self._forget()
        self._channel.fail(
            TimedOut(f"process {self._pid} has not exited within {self._timeout} s", f"llmosctl why {self._pid}")
        )

    def _ended(self, ending: Ending) -> None:
        self._stop_timer()
        self._forget()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
