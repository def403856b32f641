"""The mail room: hands operations to the store, and wakes who waits for a message or for room when a batch is back.

It does not know calls or who may do what. Rules: nobody who waits is overlooked, because what arrives in a batch is
offered after those whose operations were in it have heard; a message for somebody who waits is taken in the batch that
brings it; when a batch fails, all who wait try for themselves. Who owns a mailbox is known here as long as there is
one, also when its process is gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from llmos.kernel.gate.mail.batches import Batches, Piece, Settled
from llmos.kernel.gate.mail.receivers import Receivers
from llmos.kernel.gate.mail.senders import Senders
from llmos.kernel.gate.mail.topics import Topics
from llmos.kernel.ports import mail as p
from llmos.syscalls.abi.errors import DeviceError, NoSuchProcess
from llmos.syscalls.abi.messages import Metric
from llmos.syscalls.abi.words import Pid

SWEEP_SECONDS = 3600.0


class MailRoom:
    """Of one store. Belongs to the loop's thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, store: p.MailStore, clock: Callable[[], float], most_unread: int = 256
    ) -> None:
        self._loop = loop
        self._store = store
        self._batches = Batches(loop, store, clock, self._follow, self._report, self._lost)
        self.receivers = Receivers(self._batches.hand_in)
        self.senders = Senders(self._batches.hand_in)
        kept = store.recover()
        self.topics = Topics(kept.subscriptions, most_unread)
        self._mailboxes = dict(kept.mailboxes)
        self._counts: Counter[str] = Counter()
        self._count(kept.tally)
        self._sweeper: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """See to what was kept long enough, now and every hour."""
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self.begin)
        self.perform(p.Sweep(), _unheard)

    def close(self) -> None:
        """Write what was handed over, and hear nothing of it. May be called twice."""
        self._batches.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._store.close()

    def perform(self, operation: p.Operation, settled: Settled) -> None:
        """Do what nobody has to wait for."""
        self._batches.hand_in(Piece(operation, settled))

    def owner_of(self, pid: Pid) -> p.MailOwner | None:
        """Whose mailbox it is; None when there is none."""
        return self._mailboxes.get(pid)

    def has_mailbox(self, pid: Pid, owner: p.MailOwner) -> None:
        """There is one now."""
        self._mailboxes[pid] = owner

    def process_exited(self, pid: Pid) -> None:
        """What is in its mailbox stays for its owner; nobody waits there in its name, and it hears of no topic."""
        self.receivers.end(pid, NoSuchProcess(f"process {pid} has exited", "its owner can receive what is left"))
        self.topics.resign_all(pid)
        self.perform(p.EndMailbox(pid), _unheard)

    def metrics(self) -> tuple[Metric, ...]:
        """Counters and gauges."""
        counts = self._counts
        return (
            Metric("messages_kept", counts["messages"], "messages that wait or are taken"),
            Metric("message_bytes_kept", counts["bytes"], "bytes of their bodies"),
            Metric("dead_letters", counts["dead"], "dead letters that are kept"),
            Metric("message_receivers_waiting", float(len(self.receivers)), "receives that wait for a message"),
            Metric("message_senders_waiting", float(len(self.senders)), "sends that wait for room"),
            Metric("message_streams", float(self.topics.streams), "open streams of topics"),
            Metric("messages_sent_total", counts["sent"], "messages put into mailboxes"),
            Metric("messages_delivered_total", counts["delivered"], "messages given out, again or not"),
            Metric("messages_redelivered_total", counts["redelivered"], "messages given out again"),
            Metric("messages_acknowledged_total", counts["acknowledged"], "messages that are done with"),
            Metric("dead_letters_total", counts["died"], "messages that became dead letters"),
            Metric("dead_letters_dropped_total", counts["dropped"], "dead letters that are gone for good"),
        )

    def _follow(self, pieces: list[Piece]) -> list[Piece]:
        return self.receivers.follow(pieces)

    def _report(self, report: p.BatchReport) -> None:
        self._count(report.tally)
        for pid in report.closed:
            self._mailboxes.pop(pid, None)
        for pid in report.resigned:
            self.topics.resign_all(pid)
        self.receivers.arrived(report.arrivals)
        for owner, count in report.freed:
            self.senders.freed(owner, count)

    def _lost(self) -> None:
        self.receivers.try_again()
        self.senders.try_again()

    def _count(self, tally: p.Tally) -> None:
        counts = self._counts
        counts["messages"] += tally.messages
        counts["bytes"] += tally.bytes
        counts["dead"] += tally.dead
        counts["sent"] += tally.sent
        counts["delivered"] += tally.delivered
        counts["redelivered"] += tally.redelivered
        counts["acknowledged"] += tally.acknowledged
        counts["died"] += tally.died
        counts["dropped"] += tally.dropped


def _unheard(outcome: p.Outcome | DeviceError) -> None:
    """Nobody waits for it; it is tried again at the next time."""
