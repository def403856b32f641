"""llmos: an operating system for LLM agents. What programs import: the SDK, its records and its errors.

A name is loaded when it is first used: the kernel and its engines import `llmos` too, without sockets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmos.syscalls.abi.encoders import Classification, EncoderInfo
    from llmos.syscalls.abi.errors import (
        AlreadyExists,
        Busy,
        Cancelled,
        DeviceError,
        Error,
        InvalidArgument,
        LimitExceeded,
        MessageTooLong,
        NoSuchProcess,
        NotFound,
        NotSupported,
        OutOfPages,
        PermissionDenied,
        ProtocolError,
        TimedOut,
        TryAgain,
    )
    from llmos.syscalls.abi.memory import Derived, Forgotten, MemoryRecord, RolledBack
    from llmos.syscalls.abi.messages import (
        Chunk,
        Context,
        ContextSpan,
        ContinuationScore,
        EngineInfo,
        ExitStatus,
        Generated,
        Metric,
        SystemInfo,
        Why,
    )
    from llmos.syscalls.abi.tools import ToolInfo
    from llmos.syscalls.abi.words import (
        ChatMessage,
        FinishReason,
        Limits,
        Origin,
        OriginKind,
        PriorityClass,
        ProcessInfo,
        Signal,
        State,
        Tier,
        TokenLogprob,
        Usage,
    )
    from llmos.syscalls.sdk.agent import ToolRun, ToolUse
    from llmos.syscalls.sdk.asynchronous import AsyncProcess, AsyncSystem, aconnect
    from llmos.syscalls.sdk.asynchronous_generation import AsyncGeneration
    from llmos.syscalls.sdk.asynchronous_mail import AsyncMessage, AsyncSubscription
    from llmos.syscalls.sdk.blocking import Process, System, connect
    from llmos.syscalls.sdk.blocking_generation import Generation
    from llmos.syscalls.sdk.blocking_mail import Message, Subscription
    from llmos.syscalls.sdk.mail_requests import Letter
    from llmos.syscalls.sdk.requests import SamplingOptions
    from llmos.syscalls.sdk.tool_definitions import ToolCaller
    from llmos.syscalls.sdk.tool_requests import ToolFailed
    from llmos.syscalls.sdk.vectors import Classifications, Vectors
    from llmos.syscalls.wire.keys import Key

_EXPORTS = {
    "llmos.syscalls.abi.encoders": ("Classification", "EncoderInfo"),
    "llmos.syscalls.abi.errors": (
        "AlreadyExists",
        "Busy",
        "Cancelled",
        "DeviceError",
        "Error",
        "InvalidArgument",
        "LimitExceeded",
        "MessageTooLong",
        "NoSuchProcess",
        "NotFound",
        "NotSupported",
        "OutOfPages",
        "PermissionDenied",
        "ProtocolError",
        "TimedOut",
        "TryAgain",
    ),
    "llmos.syscalls.abi.memory": ("Derived", "Forgotten", "MemoryRecord", "RolledBack"),
    "llmos.syscalls.abi.messages": (
        "Chunk",
        "Context",
        "ContextSpan",
        "ContinuationScore",
        "EngineInfo",
        "ExitStatus",
        "Generated",
        "Metric",
        "SystemInfo",
        "Why",
    ),
    "llmos.syscalls.abi.words": (
        "ChatMessage",
        "FinishReason",
        "Limits",
        "Origin",
        "OriginKind",
        "PriorityClass",
        "ProcessInfo",
        "Signal",
        "State",
        "Tier",
        "TokenLogprob",
        "Usage",
    ),
    "llmos.syscalls.sdk.asynchronous": (
        "AsyncProcess",
        "AsyncSystem",
        "aconnect",
    ),
    "llmos.syscalls.sdk.asynchronous_generation": ("AsyncGeneration",),
    "llmos.syscalls.sdk.asynchronous_mail": ("AsyncMessage", "AsyncSubscription"),
    "llmos.syscalls.sdk.blocking": (
        "Process",
        "System",
        "connect",
    ),
    "llmos.syscalls.sdk.blocking_generation": ("Generation",),
    "llmos.syscalls.sdk.blocking_mail": ("Message", "Subscription"),
    "llmos.syscalls.sdk.mail_requests": ("Letter",),
    "llmos.syscalls.sdk.requests": ("SamplingOptions",),
    "llmos.syscalls.abi.tools": ("ToolInfo",),
    "llmos.syscalls.sdk.agent": ("ToolRun", "ToolUse"),
    "llmos.syscalls.sdk.tool_definitions": ("ToolCaller",),
    "llmos.syscalls.sdk.tool_requests": ("ToolFailed",),
    "llmos.syscalls.sdk.vectors": ("Classifications", "Vectors"),
    "llmos.syscalls.wire.keys": ("Key",),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "AlreadyExists",
    "AsyncGeneration",
    "AsyncMessage",
    "AsyncProcess",
    "AsyncSubscription",
    "AsyncSystem",
    "Busy",
    "Cancelled",
    "ChatMessage",
    "Chunk",
    "Classification",
    "Classifications",
    "Context",
    "ContextSpan",
    "ContinuationScore",
    "Derived",
    "DeviceError",
    "EncoderInfo",
    "EngineInfo",
    "Error",
    "ExitStatus",
    "FinishReason",
    "Forgotten",
    "Generated",
    "Generation",
    "InvalidArgument",
    "Key",
    "Letter",
    "LimitExceeded",
    "Limits",
    "MemoryRecord",
    "Message",
    "MessageTooLong",
    "Metric",
    "NoSuchProcess",
    "NotFound",
    "NotSupported",
    "Origin",
    "OriginKind",
    "OutOfPages",
    "PermissionDenied",
    "PriorityClass",
    "Process",
    "ProcessInfo",
    "ProtocolError",
    "RolledBack",
    "SamplingOptions",
    "Signal",
    "State",
    "Subscription",
    "System",
    "SystemInfo",
    "Tier",
    "TimedOut",
    "TokenLogprob",
    "ToolCaller",
    "ToolFailed",
    "ToolInfo",
    "ToolRun",
    "ToolUse",
    "TryAgain",
    "Usage",
    "Vectors",
    "Why",
    "aconnect",
    "connect",
]


if not TYPE_CHECKING:  # a type checker takes the imports above, and sees when a name does not exist

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'llmos' has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
