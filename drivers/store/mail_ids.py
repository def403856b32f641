"""Ids that senders gave to their messages: known while the message is there, and for a bounded time after.

What an id is of is the mailbox, the principal and the process that sent it.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from llmos.drivers.store.mail_ledger import Account, Box, Ledger
from llmos.drivers.store.mail_rows import Trace
from llmos.kernel.ports.mail import Draft, MailLimits
from llmos.syscalls.abi.words import Pid


class Ids:
    """As one batch sees and changes them."""

    def __init__(self, connection: apsw.Connection, limits: MailLimits, now: float) -> None:
        self._connection = connection
        self._limits = limits
        self._now = now

    def number_of(self, pid: Pid, draft: Draft) -> int | None:
        """The number of a message that was sent before under the same id."""
        if draft.id is None:
            return None
        number: int | None = self._connection.execute(
            "select number from ids where pid = ? and principal = ? and sender = ? and id = ?"
            " and (until is null or until > ?)",
            (pid, draft.principal, draft.sender, draft.id, self._now),
        ).get
        return number

    def remember(self, number: int, box: Box, draft: Draft) -> None:
        """A message with an id is there."""
        if draft.id is not None:
            self._forget_expired(box, draft)
            self._connection.execute(
                "insert into ids(number, owner, pid, principal, sender, id) values(?, ?, ?, ?, ?, ?)",
                (number, box.account.id, box.pid, draft.principal, draft.sender, draft.id),
            )

    def _forget_expired(self, box: Box, draft: Draft) -> None:
        self._connection.execute(
            "delete from ids where pid = ? and principal = ? and sender = ? and id = ?",
            (box.pid, draft.principal, draft.sender, draft.id),
        )
        box.account.remembered -= self._connection.changes()

    def outlive(self, trace: Trace, box: Box) -> None:
        """The message is gone; its id stays for a while."""
        if trace.id is not None:
            until = self._now + self._limits.remember_seconds
            self._connection.execute("update ids set until = ? where number = ?", (until, trace.number))
            box.account.remembered += 1

    def forget_most(self, accounts: Iterable[Account]) -> None:
        """Forget the oldest of those who have too many."""
        for account in accounts:
            excess = account.remembered - self._limits.remembered
            if excess > 0:
                self._connection.execute(
                    "delete from ids where number in (select number from ids"
                    " where owner = ? and until is not null order by number limit ?)",
                    (account.id, excess),
                )
                account.remembered -= self._connection.changes()

    def forget_old(self, ledger: Ledger) -> None:
        """Forget those whose time is over."""
        gone = "delete from ids where until <= ? returning owner"
        for row in self._connection.execute(gone, (self._now,)).fetchall():
            ledger.account(row[0]).remembered -= 1  # type: ignore[arg-type] # the column's type is integer
