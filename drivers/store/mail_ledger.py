"""What mailboxes and their owners hold, as one batch of operations sees and changes it.

Each row is read once and written once for a batch, however many messages it has. Everything here happens inside the
transaction of its batch: when that fails, the ledger is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw

from llmos.drivers.store.mail_shares import Shares
from llmos.kernel.ports.mail import Draft, Full, MailLimits, MailOwner
from llmos.syscalls.abi.words import Pid


@dataclass(slots=True, eq=False)
class Account:
    """One owner: messages and bytes in all mailboxes, dead letters, and ids of messages that are gone."""

    id: int
    owner: MailOwner
    messages: int = 0
    bytes: int = 0
    dead: int = 0
    dead_bytes: int = 0
    remembered: int = 0
    freed: int = 0
    """Messages that made room in this batch."""


@dataclass(slots=True, eq=False)
class Box:
    """One mailbox; `letters` are its dead ones. `ended`: its process is gone."""

    pid: Pid
    account: Account
    messages: int = 0
    bytes: int = 0
    letters: int = 0
    ended: bool = False
    closed: bool = False

    def shortage(self, size: int, limits: MailLimits) -> str:
        """In words, which limit one more message would break; empty when there is room."""
        account = self.account
        for held, more, limit, name, what in (
            (self.messages, 1, limits.mailbox_messages, "mailbox_messages", "messages in a mailbox"),
            (self.bytes, size, limits.mailbox_bytes, "mailbox_bytes", "bytes in a mailbox"),
            (account.messages, 1, limits.principal_messages, "principal_messages", "messages of one principal"),
            (account.bytes, size, limits.principal_bytes, "principal_bytes", "bytes of one principal"),
        ):
            if held + more > limit:
                return f"messages.{name} is {limit} {what}"
        return ""


@dataclass(slots=True, eq=False)
class Ledger:
    """The boxes and accounts that a batch has touched."""

    connection: apsw.Connection
    boxes: dict[Pid, Box] = field(default_factory=dict)
    accounts: dict[int, Account] = field(default_factory=dict)
    shares: Shares = field(init=False)

    def __post_init__(self) -> None:
        self.shares = Shares(self.connection)

    def open(self, pid: Pid, owner: MailOwner) -> Box:
        """The mailbox of a pid; made for `owner` if there is none."""
        box = self.find(pid)
        if box is None:
            account = self._account_of(owner)
            self.connection.execute("insert into mailboxes(pid, owner) values(?, ?)", (pid, account.id))
            box = self.boxes[pid] = Box(pid, account)
        return box

    def refusal(self, box: Box, draft: Draft, limits: MailLimits) -> Full | None:
        """Why a message may not be put into a mailbox, by the limits or by its sender's share; None when it may."""
        shortage = box.shortage(len(draft.body), limits)
        if shortage:
            return Full(shortage)
        account, who = box.account, draft.principal
        if who == account.owner.name:
            return None
        here, everywhere = self.shares.here.of(box.pid, who), self.shares.everywhere.of(account.id, who)
        for held, more, free, name, what in (
            (here.messages, 1, limits.mailbox_messages - box.messages, "mailbox_messages", "messages in it"),
            (here.bytes, len(draft.body), limits.mailbox_bytes - box.bytes, "mailbox_bytes", "bytes in it"),
            (everywhere.messages, 1, limits.principal_messages - account.messages, "principal_messages", "messages"),
            (everywhere.bytes, len(draft.body), limits.principal_bytes - account.bytes, "principal_bytes", "bytes"),
        ):
            if held + more > free:
                return Full(
                    f"{who} holds {held} {what} and {free} are free (messages.{name}); one sender may hold half of what"
                    " the others leave",
                    share=True,
                )
        return None

    def count(self, box: Box, principal: str, messages: int, size: int) -> None:
        """A sender has so many more messages and bytes in a mailbox."""
        for holder in (
            box,
            box.account,
            self.shares.here.of(box.pid, principal),
            self.shares.everywhere.of(box.account.id, principal),
        ):
            holder.messages += messages
            holder.bytes += size
        box.account.freed += messages < 0

    def find(self, pid: Pid) -> Box | None:
        """The mailbox of a pid, if there is one."""
        box = self.boxes.get(pid)
        if box is not None:
            return None if box.closed else box
        row = self.connection.execute(
            "select owner, messages, bytes, letters, ended from mailboxes where pid = ?", (pid,)
        ).fetchone()
        if row is None:
            return None
        owner, messages, size, letters, ended = row
        box = self.boxes[pid] = Box(pid, self.account(owner), messages, size, letters, bool(ended))
        return box

    def box(self, pid: Pid) -> Box:
        """The mailbox of a message that is there."""
        box = self.find(pid)
        if box is None:
            raise AssertionError(f"a message without the mailbox of {pid}")
        return box

    def account(self, id: int) -> Account:
        """An owner's account by its number."""
        known = self.accounts.get(id)
        if known is None:
            row = self.connection.execute(
                "select name, tenant, messages, bytes, dead, dead_bytes, remembered from owners where id = ?", (id,)
            ).fetchone()
            name, tenant, *counts = row  # type: ignore[misc] # a foreign key says that it is there
            known = self.accounts[id] = Account(id, MailOwner(name, tenant), *counts)
        return known

    def owner_id(self, owner: MailOwner) -> int | None:
        """The number of an owner who has an account."""
        row = self.connection.execute(
            "select id from owners where name = ? and tenant = ?", (owner.name, owner.tenant)
        ).fetchone()
        return row[0] if row is not None else None

    def write(self) -> tuple[Pid, ...]:
        """Write what has changed; which mailboxes are no more: their process is gone, and nothing is left in them."""
        closed = [box.pid for box in self.boxes.values() if not box.closed and self._is_over(box)]
        for pid in closed:
            self.boxes[pid].closed = True
            self.connection.execute("delete from mailboxes where pid = ?", (pid,))
        self.connection.executemany(
            "update mailboxes set messages = ?, bytes = ?, letters = ?, ended = ? where pid = ?",
            [(b.messages, b.bytes, b.letters, b.ended, b.pid) for b in self.boxes.values() if not b.closed],
        )
        self.connection.executemany(
            "update owners set messages = ?, bytes = ?, dead = ?, dead_bytes = ?, remembered = ? where id = ?",
            [(a.messages, a.bytes, a.dead, a.dead_bytes, a.remembered, a.id) for a in self.accounts.values()],
        )
        self.shares.write()
        return tuple(closed)

    def _is_over(self, box: Box) -> bool:
        if not box.ended or box.messages or box.letters:
            return False
        subscribed = "select 1 from subscriptions where pid = ? limit 1"
        return self.connection.execute(subscribed, (box.pid,)).fetchone() is None

    def _account_of(self, owner: MailOwner) -> Account:
        id = self.owner_id(owner)
        if id is None:
            self.connection.execute("insert into owners(name, tenant) values(?, ?)", (owner.name, owner.tenant))
            id = self.connection.last_insert_rowid()
            self.accounts[id] = Account(id, owner)
        return self.account(id)
