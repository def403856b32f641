"""Error numbers, the failure record of the wire, and one exception per number.

The kernel raises these for the caller's fault, the wire carries them as `Failure`, and the SDK raises them again.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from llmos.syscalls.abi.words import Record


class Errno(IntEnum):
    """POSIX numbers, as on Linux."""

    EPERM = 1
    ENOENT = 2
    ESRCH = 3
    EIO = 5
    EAGAIN = 11
    ENOMEM = 12
    EBUSY = 16
    EEXIST = 17
    EINVAL = 22
    ENOSYS = 38
    EPROTO = 71
    EMSGSIZE = 90
    ETIMEDOUT = 110
    EDQUOT = 122
    ECANCELED = 125


class Failure(Record, frozen=True):
    """An error on the wire: the number, what happened, and what to do about it."""

    number: int
    name: str
    message: str
    hint: str = ""


class Error(Exception):
    """Any failure of a call. `number` is its POSIX number; `hint` says what to do about it."""

    number: ClassVar[Errno] = Errno.EIO

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def failure(self) -> Failure:
        """This error as the wire carries it."""
        return Failure(int(self.number), self.number.name, self.message, self.hint)


class PermissionDenied(Error):
    """EPERM: the policy says no."""

    number = Errno.EPERM


class NoSuchProcess(Error):
    """ESRCH: no process has this pid, or none that the caller may see."""

    number = Errno.ESRCH


class NotFound(Error):
    """ENOENT: a named thing (model, stream, key) does not exist."""

    number = Errno.ENOENT


class AlreadyExists(Error):
    """EEXIST: the name is taken."""

    number = Errno.EEXIST


class InvalidArgument(Error):
    """EINVAL: an argument cannot mean anything here."""

    number = Errno.EINVAL


class TryAgain(Error):
    """EAGAIN: not now; the message says when."""

    number = Errno.EAGAIN


class OutOfPages(Error):
    """ENOMEM: neither tier has room; the message has the numbers."""

    number = Errno.ENOMEM


class LimitExceeded(Error):
    """EDQUOT: a limit bit; the message names it, its value and who set it."""

    number = Errno.EDQUOT


class TimedOut(Error):
    """ETIMEDOUT: the call took longer than its time-out."""

    number = Errno.ETIMEDOUT


class Cancelled(Error):
    """ECANCELED: the caller cancelled the call."""

    number = Errno.ECANCELED


class Busy(Error):
    """EBUSY: the process is generating."""

    number = Errno.EBUSY


class ProtocolError(Error):
    """EPROTO: the bytes were no message of this protocol."""

    number = Errno.EPROTO


class MessageTooLong(Error):
    """EMSGSIZE: the message or the prompt is over its limit."""

    number = Errno.EMSGSIZE


class NotSupported(Error):
    """ENOSYS: no such call, or not for this model."""

    number = Errno.ENOSYS


class DeviceError(Error):
    """EIO: a driver or its device failed."""

    number = Errno.EIO


BY_NUMBER: dict[int, type[Error]] = {int(kind.number): kind for kind in Error.__subclasses__()}
"""Every error number and its exception."""


def error_of(failure: Failure) -> Error:
    """The exception for a failure that came over the wire; an unknown number is a `ProtocolError`."""
    return BY_NUMBER.get(failure.number, ProtocolError)(failure.message, failure.hint)
