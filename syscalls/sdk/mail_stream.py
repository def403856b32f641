"""The reading end of a topic, without saying how one waits: events in, messages out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmos.syscalls.abi.mail import Mail
from llmos.syscalls.sdk.mail_requests import WINDOW, Letter, letter_of
from llmos.syscalls.sdk.protocol import Event, Failed, Happened, Replied, Window
from llmos.syscalls.wire.codec import decode_record


@dataclass(slots=True, eq=False)
class TopicStream:
    """What has been read of one subscription."""

    window: Window = field(default_factory=lambda: Window(WINDOW))
    finished: bool = False

    def accept(self, event: Event) -> Letter | None:
        """Take the next event: a message, or None for the end. Raises the error of a stream that failed."""
        match event:
            case Happened(raw):
                return letter_of(decode_record(Mail, raw))
            case Replied():
                self.finished = True
            case Failed(error):
                self.finished = True
                raise error
        return None
