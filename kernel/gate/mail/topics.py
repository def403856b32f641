"""Topics: which mailboxes have subscribed, and the open streams that hear what is published.

It does not know who may hear what. Rules: a stream that is read too slowly ends with an error that says so, and holds
up nobody; what it had not read is lost to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from llmos.kernel.gate.channel import Channel, Ending
from llmos.syscalls.abi.errors import LimitExceeded, TryAgain
from llmos.syscalls.abi.mail import Mail
from llmos.syscalls.abi.words import Pid

MOST_STREAMS = 1_000
"""Open streams of one topic."""

_MOST_BYTES = 8 << 20
"""Bodies that may wait for the reader of one stream."""


class Topics:
    """All of them."""

    def __init__(self, subscriptions: Iterable[tuple[str, Pid]], most_unread: int) -> None:
        self._most_unread = most_unread
        self._mailboxes: dict[str, dict[Pid, None]] = {}
        self._of_mailbox: dict[Pid, set[str]] = {}
        self._streams: dict[str, dict[_Stream, None]] = {}
        for topic, pid in subscriptions:
            self.enrol(topic, pid)

    def enrol(self, topic: str, pid: Pid) -> None:
        """A mailbox has subscribed."""
        self._mailboxes.setdefault(topic, {})[pid] = None
        self._of_mailbox.setdefault(pid, set()).add(topic)

    def resign(self, topic: str, pid: Pid) -> None:
        """A mailbox has taken its subscription back."""
        self._mailboxes.get(topic, {}).pop(pid, None)
        if not self._mailboxes.get(topic, True):
            del self._mailboxes[topic]
        self._of_mailbox.get(pid, set()).discard(topic)

    def resign_all(self, pid: Pid) -> None:
        """A mailbox subscribes to nothing any more."""
        for topic in self._of_mailbox.pop(pid, set()):
            self.resign(topic, pid)

    def mailboxes(self, topic: str) -> tuple[Pid, ...]:
        """Those that have subscribed to a topic."""
        return tuple(self._mailboxes.get(topic, ()))

    def of_mailbox(self, pid: Pid) -> tuple[str, ...]:
        """The topics that a mailbox has subscribed to."""
        return tuple(sorted(self._of_mailbox.get(pid, ())))

    def open(self, topic: str, channel: Channel) -> None:
        """Stream what is published from now on. Raises `TryAgain`."""
        streams = self._streams.setdefault(topic, {})
        if len(streams) >= MOST_STREAMS:
            raise TryAgain(f"{topic} has {MOST_STREAMS} open streams, the most it may", "subscribe a mailbox")
        stream = _Stream(topic, channel, self._most_unread)
        streams[stream] = None
        channel.on_credit(stream.flush)
        channel.on_end(lambda ending: self._close(stream, ending))

    def announce(self, topic: str, mail: Mail) -> int:
        """Give a message to all open streams; how many there are."""
        streams = list(self._streams.get(topic, ()))
        for stream in streams:
            if not stream.hear(mail):
                self._close(stream, Ending.GONE)
        return len(streams)

    @property
    def streams(self) -> int:
        """How many are open."""
        return sum(map(len, self._streams.values()))

    def _close(self, stream: _Stream, ending: Ending) -> None:
        streams = self._streams.get(stream.topic, {})
        streams.pop(stream, None)
        if not streams:
            self._streams.pop(stream.topic, None)


class _Stream:
    """One reader."""

    def __init__(self, topic: str, channel: Channel, most: int) -> None:
        self.topic = topic
        self._channel = channel
        self._most = most
        self._unread: deque[Mail] = deque()
        self._bytes = 0

    def hear(self, mail: Mail) -> bool:
        """One message more; False when that was too much, and the stream has ended."""
        if self._channel.over:
            return False
        self._unread.append(mail)
        self._bytes += len(memoryview(mail.body))
        self.flush()
        if len(self._unread) <= self._most and self._bytes <= _MOST_BYTES:
            return True
        self._channel.fail(
            LimitExceeded(
                f"{len(self._unread)} messages of {self.topic} were published and not read;"
                f" messages.stream_messages is {self._most}, and {_MOST_BYTES} bytes may wait",
                "read faster, or subscribe a mailbox with pid",
            )
        )
        return False

    def flush(self) -> None:
        """Send what the reader takes."""
        while self._unread and self._channel.ready:
            mail = self._unread.popleft()
            self._bytes -= len(memoryview(mail.body))
            self._channel.event(mail)
