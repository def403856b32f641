"""The system calls that a program in a container may make; everything else is refused with EPERM.

An allow list, `allowed_calls.txt`, of what CPython, its standard library, numpy and ZeroMQ use. Not in it, among
others, is anything about mounts, namespaces, modules, keys, tracing, other processes' memory, raw IO, io_uring,
userfaultfd, bpf, perf, swap, quotas, clocks and hosts' names. `clone` may not make namespaces; `clone3`, whose
arguments no filter can see, does not exist (ENOSYS), and the C library takes `clone` instead. Sockets are of the
families Unix and Internet; the latter reach nothing but the container itself.
"""

from __future__ import annotations

import errno
import json
from functools import cache
from pathlib import Path
from typing import Final

ALLOWED: Final = tuple(Path(__file__).with_name("allowed_calls.txt").read_text(encoding="ascii").split())

_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of clone(2)."""

_FAMILIES: Final = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6."""

_KIND: Final = 0xF
_KINDS: Final = (1, 2, 5)
"""The bits of a socket's kind; streams, datagrams and sequenced packets. Raw sockets are not among them."""

_PUSH_INPUT: Final = 0x5412
"""TIOCSTI: types into the terminal of somebody else."""


@cache
def profile() -> str:
    """The profile as Docker takes it."""
    allowed = [name for name in ALLOWED if name != "ioctl"]
    rules: list[object] = [_rule(allowed, "SCMP_ACT_ALLOW")]
    rules.append(_rule(["clone"], "SCMP_ACT_ALLOW", _argument(0, _NAMESPACES, "SCMP_CMP_MASKED_EQ", 0)))
    rules.append(_rule(["ioctl"], "SCMP_ACT_ALLOW", _argument(1, _PUSH_INPUT, "SCMP_CMP_NE")))
    rules += [
        _rule(
            ["socket"],
            "SCMP_ACT_ALLOW",
            _argument(0, family, "SCMP_CMP_EQ"),
            _argument(1, _KIND, "SCMP_CMP_MASKED_EQ", kind),
        )
        for family in _FAMILIES
        for kind in _KINDS
    ]
    rules.append({**_rule(["clone3"], "SCMP_ACT_ERRNO"), "errnoRet": errno.ENOSYS})
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "archMap": _ARCHITECTURES, "syscalls": rules})


_ARCHITECTURES: Final = [
    {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
]
"""Of 64 bits only: the calls of 32 bits would be a second way in."""


def _rule(names: list[str], action: str, *arguments: object) -> dict[str, object]:
    return {"names": names, "action": action, "args": list(arguments)}


def _argument(index: int, value: int, operation: str, second: int = 0) -> dict[str, object]:
    return {"index": index, "value": value, "valueTwo": second, "op": operation}
