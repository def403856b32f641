"""The reading end of a generation, without saying how one waits: events in, chunks and the result out.

Pure; used by the blocking and the asynchronous `Generation`. Rules: after the last event `finished` is true,
and `result` gives or raises the same thing every time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.sdk.protocol import Event, Failed, Happened, Replied, Window
from llmos.syscalls.sdk.requests import WINDOW
from llmos.syscalls.wire.codec import decode_record


@dataclass(slots=True, eq=False)
class GenerationStream:
    """What has been read of one generation."""

    window: Window = field(default_factory=lambda: Window(WINDOW))
    _outcome: m.Generated | Error | None = None

    @property
    def finished(self) -> bool:
        """The last event has been read."""
        return self._outcome is not None

    def accept(self, event: Event) -> m.Chunk | None:
        """Take the next event: a chunk, or None for the last. Raises a failed generation's error."""
        match event:
            case Happened(raw):
                return decode_record(m.Chunk, raw)
            case Replied(raw):
                self._outcome = decode_record(m.Generated, raw)
            case Failed(error):
                self._outcome = error
                raise error
        return None

    def result(self) -> m.Generated:
        """The whole of a generation that has finished; raises its error."""
        match self._outcome:
            case m.Generated() as generated:
                return generated
            case Error() as error:
                raise error
            case None:
                raise RuntimeError("result() before the last event")
