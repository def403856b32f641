"""One `ipc.send` and one `ipc.receive` from their beginning to their answer.

Rules: each is answered once, by what the store says, by its time-out or by its end; while something of it is in the
store's hands, the store's answer comes first, so that nobody is told that nothing happened when it did. A process in
whose name somebody waits is seen to wait.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Raw

from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.gate.mail.receivers import Receiver
from llmos.kernel.gate.mail.room import MailRoom
from llmos.kernel.gate.mail.senders import Sender
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.mail import Deliver, Delivered, StoredMail, Take
from llmos.syscalls.abi.errors import DeviceError, Error, TimedOut, TryAgain
from llmos.syscalls.abi.mail import Mail, Received, Sent

A_MESSAGE: Final = "a message"
"""What a process waits for, in `ps`."""


class Receiving:
    """One call that takes messages (`Reader`)."""

    def __init__(self, by: Authorized, shell: Shell, room: MailRoom, timeout: float | None, channel: Channel) -> None:
        self._by = by
        self._shell = shell
        self._room = room
        self._timeout = timeout
        self._channel = channel
        self._receiver: Receiver | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._awaited = self._late = False

    def begin(self, take: Take) -> None:
        """Take messages, or wait for them."""
        self._receiver = self._room.receivers.receive(take, self)
        self._channel.on_end(self._ended)
        if self._timeout:
            self._timer = self._shell.loop.call_later(self._timeout, self._timed_out)

    def taken(self, messages: tuple[StoredMail, ...]) -> bool:
        self._stop()
        if self._channel.over:
            return False
        self._channel.reply(Received(tuple(map(mail_of, messages))))
        return True

    def waits(self) -> None:
        if self._timeout == 0 or self._late:
            self._timed_out()
        elif not self._awaited:
            self._await()

    def failed(self, error: Error) -> None:
        self._stop()
        if not self._channel.over:
            self._channel.fail(error)

    def _timed_out(self) -> None:
        self._late = True
        # What is being taken just now decides; if that is nothing, `waits` comes here again.
        if self._receiver is None or self._receiver.busy:
            return
        self._room.receivers.leave(self._receiver)
        self.failed(TimedOut(f"no message came within {self._timeout} s", "wait longer, or ask what is wanted"))

    def _await(self) -> None:
        process = None if self._by.pid is None else self._shell.kernel.table.find(self._by.pid)
        if process is not None and process.alive:
            self._awaited = True
            self._shell.perform(self._by, ev.Await(process.pid, A_MESSAGE))

    def _ended(self, ending: Ending) -> None:
        if self._receiver is not None:
            self._room.receivers.leave(self._receiver)
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._awaited and self._by.pid is not None:
            self._awaited = False
            self._shell.perform(self._by, ev.Resume(self._by.pid, A_MESSAGE))


class Sending:
    """One call that sends a message (`Writer`)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, room: MailRoom, timeout: float | None, channel: Channel
    ) -> None:
        self._loop = loop
        self._room = room
        self._timeout = timeout
        self._channel = channel
        self._deliver: Deliver | None = None
        self._sender: Sender | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = False

    def begin(self, deliver: Deliver) -> None:
        """Send, and wait for room if there is a time-out."""
        self._deliver = deliver
        self._sender = self._room.senders.send(deliver, self)
        self._channel.on_end(self._ended)
        if self._timeout:
            self._timer = self._loop.call_later(self._timeout, self._timed_out)

    def sent(self, delivered: Delivered) -> None:
        self._stop()
        if self._deliver is not None:
            self._room.has_mailbox(self._deliver.pid, self._deliver.owner)
        if not self._channel.over:
            self._channel.reply(Sent(delivered.number, delivered.again))

    def full(self, limit: str) -> bool:
        if self._timeout and not self._late and not self._channel.over:
            return True
        self._stop()
        pid = self._deliver.pid if self._deliver is not None else 0
        words = f"the mailbox of process {pid} is full: {limit}"
        if self._channel.over:
            return False
        if self._timeout:
            self._channel.fail(TimedOut(f"{words}, for {self._timeout} s", "somebody has to receive from it"))
        else:
            self._channel.fail(TryAgain(words, "send with a timeout to wait for room; somebody has to receive from it"))
        return False

    def failed(self, error: DeviceError) -> None:
        self._stop()
        if not self._channel.over:
            self._channel.fail(error)

    def _timed_out(self) -> None:
        self._late = True
        if self._sender is not None and self._room.senders.give_up(self._sender):
            self.full("nobody made room")

    def _ended(self, ending: Ending) -> None:
        self._late = True
        if self._sender is not None:
            self._room.senders.give_up(self._sender)
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def mail_of(stored: StoredMail) -> Mail:
    """A message as the wire carries it."""
    return Mail(
        number=stored.number,
        pid=stored.pid,
        body=Raw(stored.body),
        principal=stored.principal,
        sent=stored.sent,
        deliveries=stored.deliveries,
        id=stored.id,
        tag=stored.tag,
        sender=stored.sender or None,
        topic=stored.topic,
        dead=stored.dead,
    )
