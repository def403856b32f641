"""Keeps the policy in force the one of the files: changes it on demand, and when somebody has edited a file.

It does not know calls. Rules: reading and compiling happens beside the loop, taking a policy in the loop at once; one
change at a time; a change that would take the right to change back from whoever makes it is refused; a change is in the
audit log before whoever asked is told, and a broken file is told once to the log and leaves the old policy in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.security.audit.record import Kind
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import POLICY_OBJECT, Target
from llmos.kernel.security.policy.conditions import NOTHING
from llmos.kernel.security.policy.decisions import Policy
from llmos.kernel.security.policy.difference import changes
from llmos.kernel.security.policy.document import Document
from llmos.kernel.security.policy.store import FileChange, PolicyStore
from llmos.syscalls.abi.errors import Busy, Error, InvalidArgument
from llmos.syscalls.abi.security import PolicyChange

APPLY = "sec.policy_apply"
WATCH_SECONDS = 2.0

Result = TypeVar("Result")

_log = logging.getLogger("llmos.security")


class PolicyKeeper:
    """Of one membrane. `changed` is called after every change."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: PolicyStore,
        membrane: Membrane,
        recorder: Recorder,
        changed: Callable[[], None],
    ) -> None:
        self.store = store
        self._loop = loop
        self._membrane = membrane
        self._recorder = recorder
        self._changed = changed
        self._busy = False
        self._watching: asyncio.TimerHandle | None = None

    @property
    def document(self) -> Document:
        """The policy in force, as it was read."""
        return self._membrane.policy.document

    def watch(self) -> None:
        """Look after the files from now on."""
        self._watching = self._loop.call_later(WATCH_SECONDS, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()

    def reload(self) -> None:
        """Read the files again now; what is wrong with them goes to the log."""
        if not self._busy:
            self._beside(self.store.load, self._take_files)

    async def propose(self, change: FileChange) -> tuple[Policy, PolicyChange]:
        """What a change would do; nothing changes. Raises `InvalidArgument` and others for a change that cannot be."""
        old = self._membrane.policy.document
        policy = await self._loop.run_in_executor(None, self.store.compile, (change,))
        added, removed = changes(old, policy.document)
        return policy, PolicyChange(added, removed, self._membrane.epoch)

    async def apply(self, change: FileChange, by: Principal, epoch: int | None) -> PolicyChange:
        """Make a change.

        Raises `Busy` when the policy is another than the caller has seen, `InvalidArgument`, `DeviceError`.
        """
        if self._busy or epoch not in (None, self._membrane.epoch):
            raise Busy("the policy has changed meanwhile", "look at the change again")
        self._busy = True
        try:
            policy, said = await self.propose(change)
            self._check_not_locked_out(policy, by)
            await self._loop.run_in_executor(None, self.store.write, change)
        finally:
            self._busy = False
        self._take(policy)
        return PolicyChange(said.added, said.removed, self._membrane.epoch)

    def _check_not_locked_out(self, policy: Policy, by: Principal) -> None:
        question = self._membrane.question(by, Target(POLICY_OBJECT, SYSTEM), APPLY, NOTHING)
        if self._membrane.policy.decide(question).allowed and not policy.decide(question).allowed:
            raise InvalidArgument(
                f"this would take {APPLY} from {by.name}", "who changes the policy must keep the right"
            )

    def _look(self) -> None:
        self.watch()
        if self.store.touched:
            self.reload()

    def _take_files(self, result: asyncio.Future[Policy]) -> None:
        self._busy = False
        try:
            policy = result.result()
        except Error as error:
            _log.error("the old policy stays in force: %s", error.message)
            self._recorder.happened(Kind.POLICY, f"refused: {error.message}", error.number.name)
            return
        before = self._membrane.policy.document
        self._take(policy)
        self._recorder.happened(Kind.POLICY, f"files were read again: {_summary(before, policy.document)}")

    def _take(self, policy: Policy) -> None:
        self._membrane.replace(policy)
        self._changed()

    def _beside(self, work: Callable[[], Result], then: Callable[[asyncio.Future[Result]], None]) -> None:
        self._busy = True
        self._loop.run_in_executor(None, work).add_done_callback(then)


def _summary(old: Document, new: Document) -> str:
    added, removed = changes(old, new)
    return f"{len(added)} lines added, {len(removed)} removed"
