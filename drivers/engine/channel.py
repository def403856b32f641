"""What crosses the channel between the kernel and an engine: plans one way, the reports of the port the other."""

from __future__ import annotations

import msgspec

from llmos.drivers.workers.channel import Failure
from llmos.kernel.ports.engine import Outcome, Plan, Ready

Frame = Ready | Outcome | Failure

FRAMES: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_PLANS = msgspec.msgpack.Decoder(Plan)


def decode_plan(data: bytes) -> Plan:
    """The plan in one frame."""
    return _PLANS.decode(data)
