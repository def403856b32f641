"""What `embed` and `classify` give: lists, one entry for each text, that also know what they cost."""

from __future__ import annotations

import struct

from llmos.syscalls.abi.encoders import Classification, Classified, Embedded


class Vectors(list[list[float]]):
    """One vector for each text, of length 1. `truncated` has the positions of texts that were too long for the model,
    whose vectors are of their beginning; only vectors of the same `fingerprint` compare.
    """

    def __init__(self, reply: Embedded) -> None:
        numbers = struct.unpack(f"<{len(reply.vectors) // 4}f", reply.vectors)
        size = reply.dimensions
        super().__init__(list(numbers[begin : begin + size]) for begin in range(0, len(numbers), size))
        self.model = reply.model
        self.fingerprint = reply.fingerprint
        self.dimensions = size
        self.tokens = reply.tokens
        self.truncated = reply.truncated


class Classifications(list[Classification]):
    """One classification for each text: `.label`, and `.scores` in the order of the labels."""

    def __init__(self, reply: Classified) -> None:
        super().__init__(reply.results)
        self.model = reply.model
        self.tokens = reply.tokens
        self.truncated = reply.truncated
