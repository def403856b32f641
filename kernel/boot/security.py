"""Puts the security of a daemon together: its keys, its policy, its membrane and its audit log.

It decides nothing; rules: what is wrong with a key, a policy or the log is found before anything is served.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

from llmos.kernel.boot.home import Home
from llmos.kernel.boot.settings import SecuritySection
from llmos.kernel.gate.accounts import Bounds
from llmos.kernel.gate.calls.beside import Reader
from llmos.kernel.gate.desk import Dispatch
from llmos.kernel.gate.keeper import PolicyKeeper
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.gate.server import Gate
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import Owners
from llmos.kernel.security.policy.store import PolicyStore


@dataclass(frozen=True, slots=True)
class Security:
    """The parts. The gate is closed before the log."""

    keyring: Keyring
    membrane: Membrane
    recorder: Recorder
    gate: Gate
    keeper: PolicyKeeper
    reader: Reader
    audit: Path

    def close(self) -> None:
        """End all calls, then write what is left to write."""
        self.keeper.close()
        self.gate.close()
        self.reader.close()
        self.recorder.log.close()


def open_security(
    loop: asyncio.AbstractEventLoop, home: Home, settings: SecuritySection, owners: Owners, dispatch: Dispatch
) -> Security:
    """Raises `InvalidArgument` for what is damaged."""
    keyring, store = Keyring.open(home.keys), _store(home, settings)
    membrane = Membrane(store.load(), owners, keyring, new_denial_id)
    recorder = Recorder(AuditLog.open(loop, home.audit, home.keys))
    gate = Gate(loop, keyring, membrane, recorder, dispatch, _bounds(settings))
    keeper = PolicyKeeper(loop, store, membrane, recorder, gate.recheck)
    return Security(keyring, membrane, recorder, gate, keeper, Reader(loop, recorder.log), home.audit)


def new_denial_id() -> str:
    """An id under which a denial is found again."""
    return secrets.token_hex(6)


def _store(home: Home, settings: SecuritySection) -> PolicyStore:
    model = Path(settings.model).expanduser() if settings.model is not None else None
    if settings.policy is None:
        return PolicyStore(home.policy, model=model)
    return PolicyStore(Path(settings.policy).expanduser(), whole=True, model=model)


def _bounds(settings: SecuritySection) -> Bounds:
    return Bounds(rate=settings.calls_per_second, connections=settings.connections_per_key)
