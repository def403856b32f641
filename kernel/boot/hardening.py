"""What the daemon does to itself before it reads a secret.

Rule: its memory is nobody else's: no core dump is written, whatever the machine does with them, and other processes of
the same user cannot attach to it or read it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Protect this process and, as far as limits are inherited, those that it starts. Raises `OSError`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _raise_open_files()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl: {os.strerror(ctypes.get_errno())}")


def _raise_open_files() -> None:
    """As many connections as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
