"""The process in which grammars of strangers are compiled first: `python -m ... CHANNEL DIRECTORY`.

It says that it is ready with an empty message, and answers each grammar with what is wrong with it. Rules: it ends when
the kernel's end of the channel closes; memory is bounded by its address space, time by the CPU time of one check: what
needs more ends this process, never the kernel.
"""

from __future__ import annotations

import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import msgspec
from llguidance import LLMatcher, LLTokenizer

from llmos.drivers.engine.grammars import matcher
from llmos.kernel.ports.engine import Grammar

CPU_SECONDS = 1.0
MEMORY = 1 << 30
"""What one check may use: a usual one takes some milliseconds. Memory is address space, in bytes, beyond what the
process has with the tokenizer of its model.
"""

_PROBED = 32
"""Tokens that are written under a grammar to see what its masks cost."""


def main(arguments: list[str]) -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Connection(int(arguments[0]))
    tokenizer = LLTokenizer(str(Path(arguments[1]) / "tokenizer.json"))
    most = _address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    decoder = msgspec.msgpack.Decoder(Grammar)
    channel.send_bytes(b"")
    while True:
        try:
            grammar = decoder.decode(channel.recv_bytes())
        except EOFError:
            return
        # Nobody catches the signal of this timer, in native code neither: it ends the process.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        fault = find_fault(tokenizer, grammar)
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.send_bytes(fault.encode())


def _address_space() -> int:
    """Of this process now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def find_fault(tokenizer: LLTokenizer, grammar: Grammar) -> str:
    """What is wrong with a grammar; nothing if it compiles and some text can be written under it."""
    try:
        probed = matcher(tokenizer, grammar)
    except ValueError as error:
        return str(error)
    chance = Random(1)
    for _ in range(_PROBED):
        if probed.is_stopped():
            break
        probed.consume_token(_some_token(probed, chance))
    return probed.get_error()


def _some_token(probed: LLMatcher, chance: Random) -> int:
    bits = int.from_bytes(probed.compute_bitmask(), "little")
    above = chance.randrange(max(1, bits.bit_length()))
    rest = bits >> above << above
    return (rest & -rest).bit_length() - 1


if __name__ == "__main__":
    main(sys.argv[1:])
