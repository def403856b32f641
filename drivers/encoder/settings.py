"""What an encoder is told when it starts. Free of torch: the kernel builds it and sends it."""

from __future__ import annotations

from enum import StrEnum

from llmos.kernel.ports.engine import Message


class DeviceKind(StrEnum):
    """Where the model runs; `auto` takes a GPU when there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class EncoderSettings(Message, frozen=True):
    """Settings of one encoder. `directory` holds the model in transformers' format, with sentence-transformers' files
    beside it where it has them; `threads` bounds the CPU threads, None takes all.
    """

    model: str
    directory: str
    fingerprint: str
    device: DeviceKind = DeviceKind.AUTO
    threads: int | None = None
