"""One batch of operations on mailboxes, inside a transaction.

Rules: what is over is seen to first, so that a lease ends before anybody is told that nothing is there; a message that
was acknowledged is gone; one that was given out too often, kept too long or published to a full mailbox is a dead
letter, and the oldest dead letters of an owner make room for new ones.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, assert_never

import apsw

from llmos.drivers.store import mail_rows as rows
from llmos.drivers.store.mail_ids import Ids
from llmos.drivers.store.mail_ledger import Account, Box, Ledger
from llmos.drivers.store.mail_rows import DEAD, DEAD_TAKEN, TAKEN, WAITING, Place, Trace
from llmos.kernel.ports import mail as p
from llmos.syscalls.abi.words import Pid

MOST_BYTES: Final = 16 << 20
"""Bodies that are given out at once, together."""

FULL: Final = "the mailbox was full"
NO_SHARE: Final = "the publisher's share of the mailbox was full"
OTHERS_WAIT: Final = "others wait to send to it"
TOO_OLD: Final = "nobody took it in time"


class Batch:
    """Runs once."""

    def __init__(self, connection: apsw.Connection, limits: p.MailLimits, now: float) -> None:
        self._connection = connection
        self._limits = limits
        self._now = now
        self._ledger = Ledger(connection)
        self._ids = Ids(connection, limits, now)
        self._next = self._first = _next_number(connection)
        self._arrivals: dict[int, p.Arrival] = {}
        self._counts: Counter[str] = Counter()
        self._resigned: list[Pid] = []
        self._closed: set[Pid | tuple[Pid, str]] = set()
        """Mailboxes where somebody who was refused waits for room; with a principal: waits for that one's share."""

    def run(self, operations: tuple[p.Operation, ...]) -> p.BatchReport:
        """Do all of them."""
        self._end_leases()
        outcomes = tuple(self._perform(operation) for operation in operations)
        self._ids.forget_most(self._ledger.accounts.values())
        closed = self._ledger.write()
        if self._next != self._first:
            self._connection.execute("update numbers set next = ?", (self._next,))
        accounts = self._ledger.accounts.values()
        return p.BatchReport(
            outcomes,
            tuple(self._arrivals.values()),
            tuple((account.owner, account.freed) for account in accounts if account.freed),
            closed,
            tuple(self._resigned),
            self._next_due(),
            p.Tally(**self._counts),
        )

    def _perform(self, operation: p.Operation) -> p.Outcome:
        match operation:
            case p.Deliver():
                return self._deliver(operation)
            case p.Spread():
                return self._spread(operation)
            case p.Take():
                return self._take(operation)
            case p.Settle(scope, numbers):
                return self._settle(scope, numbers)
            case p.GiveBack():
                return self._give_back(operation)
            case p.Enrol():
                return self._enrol(operation)
            case p.Resign(topic, pid):
                return self._resign(topic, pid)
            case p.Describe(pid):
                return self._describe(pid)
            case p.EndMailbox(pid):
                return self._end(pid)
            case p.Sweep():
                return self._sweep()
            case _:
                assert_never(operation)

    # --- in

    def _deliver(self, wish: p.Deliver) -> p.Outcome:
        draft = wish.draft
        if (known := self._ids.number_of(wish.pid, draft)) is not None:
            return p.Delivered(known, again=True)
        box = self._ledger.open(wish.pid, wish.owner)
        refused = self._refusal(box, draft)
        if refused is None:
            return p.Delivered(self._put(box, draft))
        if wish.patient:
            self._closed.add((wish.pid, draft.principal) if refused.share else wish.pid)
        return refused

    def _spread(self, wish: p.Spread) -> p.Outcome:
        reached = 0
        for pid, owner in wish.to:
            if self._ids.number_of(pid, wish.draft) is not None:
                continue
            box = self._ledger.open(pid, owner)
            refused = self._refusal(box, wish.draft)
            self._put(box, wish.draft, _reason(refused))
            reached += refused is None
        return p.Counted(reached)

    def _refusal(self, box: Box, draft: p.Draft) -> p.Full | None:
        refused = self._ledger.refusal(box, draft, self._limits)
        if refused is None or refused.share:
            if box.pid in self._closed:
                return p.Full(OTHERS_WAIT)
            if (box.pid, draft.principal) in self._closed:
                return p.Full(OTHERS_WAIT, share=True)
        return refused

    def _put(self, box: Box, draft: p.Draft, dead: str = "") -> int:
        number, self._next = self._next, self._next + 1
        trace = rows.insert(self._connection, number, box.pid, box.account.id, draft, self._now, dead)
        self._ids.remember(number, box, draft)
        self._counts["sent"] += 1
        self._arrived(box, trace)
        if dead:
            self._count_dead(box, trace)
        else:
            self._count(box, trace, 1)
        return number

    # --- out

    def _take(self, wish: p.Take) -> p.Outcome:
        self._settle(wish.scope, wish.acknowledge)
        place = self._place(wish.scope)
        if place is None:
            return p.Taken(())
        free, taken = (DEAD, DEAD_TAKEN) if wish.dead else (WAITING, TAKEN)
        found = rows.free_ones(self._connection, place, free, wish.wanted, wish.count, MOST_BYTES)
        rows.take(self._connection, (mail.number for mail in found), taken, self._now + wish.lease)
        for mail in found:
            self._arrivals.pop(mail.number, None)
        self._counts["delivered"] += len(found)
        self._counts["redelivered"] += sum(mail.deliveries > 0 for mail in found)
        return p.Taken(tuple(mail if wish.dead else _delivered_once_more(mail) for mail in found))

    def _settle(self, scope: p.Scope, numbers: tuple[int, ...]) -> p.Outcome:
        place = self._place(scope)
        if place is None:
            return p.Counted(0)
        gone = [trace for number in numbers if (trace := rows.remove(self._connection, place, number)) is not None]
        for trace in gone:
            self._left(trace)
        self._counts["acknowledged"] += len(gone)
        return p.Counted(len(gone))

    def _give_back(self, wish: p.GiveBack) -> p.Outcome:
        place = self._place(wish.scope)
        if place is None:
            return p.Counted(0)
        freed = [
            trace
            for number in wish.numbers
            if (trace := rows.free(self._connection, place, number, wish.unseen)) is not None
        ]
        for trace in freed:
            self._free_again(trace)
        return p.Counted(len(freed))

    def _end_leases(self) -> None:
        for trace in rows.overdue(self._connection, self._now):
            self._free_again(trace)

    def _free_again(self, trace: Trace) -> None:
        box = self._ledger.box(trace.pid)
        if trace.state == WAITING and trace.deliveries >= self._limits.deliveries:
            self._bury(trace, f"it was given out {trace.deliveries} times and never acknowledged")
        else:
            self._arrived(box, trace)

    # --- topics and mailboxes

    def _enrol(self, wish: p.Enrol) -> p.Outcome:
        box = self._ledger.open(wish.pid, wish.owner)
        known = "select 1 from subscriptions where topic = ? and pid = ?"
        if self._connection.execute(known, (wish.topic, wish.pid)).fetchone() is not None:
            return p.Counted(0)
        for count, value in (
            ("select count(*) from subscriptions where topic = ?", wish.topic),
            ("select count(*) from subscriptions join mailboxes using(pid) where owner = ?", box.account.id),
        ):
            if self._connection.execute(count, (value,)).get >= self._limits.subscriptions:
                return p.Full(f"{self._limits.subscriptions} subscriptions of one topic and of one principal")
        self._connection.execute("insert into subscriptions(topic, pid) values(?, ?)", (wish.topic, wish.pid))
        return p.Counted(1)

    def _resign(self, topic: str, pid: Pid) -> p.Outcome:
        # Touched, so that an empty mailbox without a process goes.
        self._ledger.find(pid)
        self._connection.execute("delete from subscriptions where topic = ? and pid = ?", (topic, pid))
        return p.Counted(self._connection.changes())

    def _describe(self, pid: Pid) -> p.Outcome:
        box = self._ledger.find(pid)
        if box is None:
            return p.Contents()
        count = "select count(*) from messages where pid = ? and state = ?"
        taken = self._connection.execute(count, (pid, TAKEN)).get
        return p.Contents(box.messages - taken, taken, box.letters, box.bytes)

    def _end(self, pid: Pid) -> p.Outcome:
        box = self._ledger.find(pid)
        if box is not None:
            box.ended = True
            self._resign_all(pid)
        return p.Counted(box is not None)

    def _sweep(self) -> p.Outcome:
        kept = self._now - self._limits.keep_seconds
        for trace in rows.older_than(self._connection, kept, WAITING):
            self._bury(trace, TOO_OLD)
            if self._ledger.box(trace.pid).ended:
                self._resign_all(trace.pid)
        for trace in rows.older_than(self._connection, kept - self._limits.keep_seconds, DEAD):
            self._drop(trace.number, self._ledger.account(trace.owner))
        self._ids.forget_old(self._ledger)
        return p.Counted(0)

    def _resign_all(self, pid: Pid) -> None:
        self._connection.execute("delete from subscriptions where pid = ?", (pid,))
        self._resigned.append(pid)

    # --- counts

    def _arrived(self, box: Box, trace: Trace) -> None:
        arrival = p.Arrival(box.pid, box.account.owner, trace.wanted, bool(trace.state & DEAD))
        self._arrivals[trace.number] = arrival

    def _left(self, trace: Trace) -> None:
        box = self._ledger.box(trace.pid)
        self._arrivals.pop(trace.number, None)
        self._ids.outlive(trace, box)
        if trace.state in (WAITING, TAKEN):
            self._count(box, trace, -1)
        else:
            self._count_letter(box, trace, -1)

    def _bury(self, trace: Trace, reason: str) -> None:
        box = self._ledger.box(trace.pid)
        rows.bury(self._connection, trace.number, reason)
        self._arrivals[trace.number] = p.Arrival(box.pid, box.account.owner, trace.wanted, True)
        self._count(box, trace, -1)
        self._count_dead(box, trace)

    def _count_dead(self, box: Box, trace: Trace) -> None:
        """One more dead letter; the oldest ones make room for it."""
        account = box.account
        self._count_letter(box, trace, 1)
        self._counts["died"] += 1
        while account.dead > self._limits.dead_letters or account.dead_bytes > self._limits.dead_bytes:
            oldest = rows.oldest_dead(self._connection, account.id)
            if oldest is None:
                break
            self._drop(oldest, account)

    def _drop(self, number: int, account: Account) -> None:
        trace = rows.remove(self._connection, Place("owner", account.id), number)
        if trace is not None:
            self._left(trace)
            self._counts["dropped"] += 1

    def _count(self, box: Box, trace: Trace, more: int) -> None:
        self._ledger.count(box, trace.principal, more, more * trace.size)
        self._counts["messages"] += more
        self._counts["bytes"] += more * trace.size

    def _count_letter(self, box: Box, trace: Trace, more: int) -> None:
        box.letters += more
        box.account.dead += more
        box.account.dead_bytes += more * trace.size
        self._counts["dead"] += more

    # --- parts

    def _place(self, scope: p.Scope) -> Place | None:
        if scope.pid is not None:
            return Place("pid", scope.pid)
        owner = self._ledger.owner_id(scope.owner)
        return Place("owner", owner) if owner is not None else None

    def _next_due(self) -> float | None:
        due: float | None = self._connection.execute("select min(due) from messages where due is not null").get
        return due


def _reason(refused: p.Full | None) -> str:
    """Why what was published is a dead letter at once; empty when it is none."""
    if refused is None:
        return ""
    return NO_SHARE if refused.share else FULL


def _next_number(connection: apsw.Connection) -> int:
    number: int = connection.execute("select next from numbers").get
    return number


def _delivered_once_more(mail: p.StoredMail) -> p.StoredMail:
    """As it is given out now."""
    return p.StoredMail(
        mail.number,
        mail.pid,
        mail.body,
        mail.principal,
        mail.sent,
        mail.deliveries + 1,
        mail.id,
        mail.tag,
        mail.sender,
        mail.topic,
        mail.dead,
    )
