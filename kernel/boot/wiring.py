"""Puts the kernel together: the model from its store, the drivers, the core, its shell and the handlers of calls.

With `apps`, `encoders`, `files`, `mail` and `memory`, the only module of the kernel that knows the drivers. It decides
nothing; rules: what can be refused is refused before an engine is started.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass

from llmos.drivers.engine.grammar_checker import Checker
from llmos.drivers.engine.launcher import Launcher
from llmos.drivers.engine.settings import DeviceKind, EngineSettings, NumberFormat, WeightFormat
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore, ResolvedModel
from llmos.drivers.text.codec import load_codec
from llmos.kernel.boot.apps import AppParts
from llmos.kernel.boot.encoders import open_encoder
from llmos.kernel.boot.files import Files
from llmos.kernel.boot.mail import open_mail
from llmos.kernel.boot.memory import MemoryParts, open_memory
from llmos.kernel.boot.security import Security
from llmos.kernel.boot.service import EXIT_REFUSED, Boot
from llmos.kernel.boot.settings import EngineSection
from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.engine import CoreSettings
from llmos.kernel.core.kernel import Kernel
from llmos.kernel.core.policy import POLICIES
from llmos.kernel.gate.calls.audits import AuditCalls
from llmos.kernel.gate.calls.checks import Checks
from llmos.kernel.gate.calls.embeddings import EmbeddingCalls
from llmos.kernel.gate.calls.grammars import Grammars
from llmos.kernel.gate.calls.identity import IdentityCalls
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.calls.mail import MailCalls
from llmos.kernel.gate.calls.memories import MemoryCalls
from llmos.kernel.gate.calls.memory_origins import MemoryOrigins
from llmos.kernel.gate.calls.policies import PolicyCalls
from llmos.kernel.gate.calls.processes import ProcessCalls, Sources
from llmos.kernel.gate.calls.system import Facts, SystemCalls
from llmos.kernel.gate.calls.table import Handlers
from llmos.kernel.gate.calls.tools import MOST_WAITING, ToolCalls
from llmos.kernel.gate.channel import Channel
from llmos.kernel.gate.mail.room import MailRoom
from llmos.kernel.gate.tools.registry import ToolLimits
from llmos.kernel.loop.encoder import EncoderService
from llmos.kernel.loop.shell import Model, Shell
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.syscalls.abi.table import Call
from llmos.syscalls.abi.words import Pid, Record

SCHEMA_THREADS = 2
"""That compile the schemas of tools, and check long arguments."""

FIRST_TRIES = 3
"""Engines that may die before one was ever up; after that the daemon gives up and says why."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What serves the calls, beside security."""

    default_model: str
    shell: Shell
    grammars: Grammars
    encoder: EncoderService
    room: MailRoom
    files: Files
    memory: MemoryParts
    schemas: Lanes

    def close(self) -> None:
        """End what runs."""
        self.memory.close()
        self.encoder.close()
        self.shell.close()
        self.files.close()
        self.grammars.close()
        self.schemas.close()
        self.room.close()


class KernelService:
    """The real kernel (`Service`)."""

    def __init__(self, boot: Boot, parts: Parts) -> None:
        self._boot = boot
        self._parts = parts
        self._shell = parts.shell
        self._room = parts.room
        self._handlers: Handlers | None = None
        self._apps: AppParts | None = None
        self._stillborn = 0

    @property
    def default_model(self) -> str:
        return self._parts.default_model

    @property
    def default_encoder(self) -> str:
        return self._parts.encoder.model

    def owner_of(self, pid: Pid) -> Owner | None:
        process = self._shell.kernel.table.find(pid)
        return Owner(process.principal, process.tenant) if process is not None else None

    def mailbox_of(self, pid: Pid) -> Owner | None:
        owner = self.owner_of(pid)
        if owner is None and (kept := self._room.owner_of(pid)) is not None:
            owner = Owner(kept.name, kept.tenant)
        return owner

    def file_of(self, descriptor: int) -> FilePath | None:
        return self._parts.files.table.path_of(descriptor)

    def begin(self, security: Security) -> None:
        self._apps = AppParts.open(self._boot, security)
        self._handlers = _handlers(self._boot, self._parts, security, self._apps)
        self._shell.on_exited.append(self._room.process_exited)
        self._room.begin()
        self._shell.on_engine_change = self._engine_changed
        self._shell.on_displaced = security.recorder.displaced
        self._shell.start()
        self._parts.encoder.start()
        self._parts.memory.upkeep.start()
        self._apps.runner.begin()

    def _engine_changed(self) -> None:
        """Whoever started us waits until an engine is up; one that never comes up ends us."""
        for engine in self._shell.kernel.engines.values():
            if engine.ready is not None:
                self._boot.serving()
            elif engine.geometry is None:
                self._stillborn += 1
                if engine.refused or self._stillborn >= FIRST_TRIES:
                    self._boot.stop(EXIT_REFUSED)

    def dispatch(self, authorized: Authorized, call: Call, request: Record, channel: Channel) -> None:
        if self._handlers is None:
            raise RuntimeError("a call before the kernel began")
        self._handlers.dispatch(authorized, call, request, channel)

    def close(self) -> None:
        if self._apps is not None:
            self._apps.close()
        self._parts.close()


def assemble(boot: Boot) -> KernelService:
    """Make the kernel of the settings. Raises `NotFound` for a model that is not there, `InvalidArgument`."""
    store = ModelStore(models_directory(boot.home.root, os.environ))
    model = store.resolve(boot.settings.engine.model)
    text = load_codec(model.directory)
    kernel = Kernel((model.name,), _core_settings(boot))
    launcher = Launcher(_engine_settings(boot.settings.engine, model))
    shell = Shell(boot.loop, kernel, {model.name: Model(launcher, text)})
    grammars = Grammars(boot.loop, {model.name: Checker(model.directory)})
    encoder = open_encoder(boot, store)
    boot.home.store.mkdir(mode=0o700, exist_ok=True)
    parts = Parts(
        default_model=model.name,
        shell=shell,
        grammars=grammars,
        encoder=encoder,
        room=open_mail(boot),
        files=Files.open(boot),
        memory=open_memory(boot, shell, encoder),
        schemas=Lanes(boot.loop, SCHEMA_THREADS, "schemas"),
    )
    return KernelService(boot, parts)


def _handlers(boot: Boot, parts: Parts, security: Security, apps: AppParts) -> Handlers:
    """A group of calls from each of its parts."""
    membrane, recorder, gate, reader = security.membrane, security.recorder, security.gate, security.reader
    shell = parts.shell
    sources = Sources(parts.default_model, boot.pids.allocate, lambda: secrets.randbits(63))
    facts = Facts(boot.version, str(boot.home.root), time.time(), lambda: boot.stop(0))
    checks = Checks(parts.schemas, MOST_WAITING, "characters")
    tools = ToolCalls(shell, membrane, checks, _tool_limits(boot), 1 + secrets.randbits(48))
    meters = (parts.room.metrics, parts.files.table.metrics, tools.metrics)
    groups = (
        ProcessCalls(shell, membrane, parts.grammars, MemoryOrigins(shell, membrane, parts.memory.store), sources),
        EmbeddingCalls(shell, parts.encoder),
        SystemCalls(shell, parts.encoder, membrane, facts, parts.memory.store, meters),
        MemoryCalls(shell, membrane, parts.memory.store, parts.memory.vectors, lambda: secrets.token_hex(8)),
        IdentityCalls(security.keyring, membrane, recorder, gate.revoke, gate.announce_server_key),
        PolicyCalls(boot.loop, security.keeper, membrane, security.keyring, recorder, reader, security.audit),
        AuditCalls(boot.loop, membrane, reader, security.audit),
        MailCalls(shell, membrane, parts.room, time.time),
        tools,
        *parts.files.groups(shell, membrane),
        apps.calls,
    )
    return Handlers(group.handlers() for group in groups)


def _tool_limits(boot: Boot) -> ToolLimits:
    tools = boot.settings.tools
    return ToolLimits(tools.tools_per_principal, tools.calls_per_principal, tools.result_size)


def _core_settings(boot: Boot) -> CoreSettings:
    scheduler = boot.settings.scheduler
    return CoreSettings(
        policy=POLICIES[scheduler.policy],
        aging_seconds=scheduler.aging_seconds,
        secret=secrets.token_bytes(32),
        max_processes_each=boot.settings.security.processes_per_principal,
        page_share=boot.settings.security.page_share,
    )


def _engine_settings(section: EngineSection, model: ResolvedModel) -> EngineSettings:
    return EngineSettings(
        model=model.name,
        directory=str(model.directory),
        device=DeviceKind(section.device),
        dtype=NumberFormat(section.dtype),
        weights=WeightFormat(section.weights),
        page_tokens=section.page_tokens,
        device_pages=section.device_pages,
        device_memory=section.device_memory,
        host_memory=section.host_memory,
        step_tokens=section.step_tokens,
        max_batch=section.max_batch,
        threads=section.threads,
    )
