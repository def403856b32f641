"""The host pool's memory: anonymous, shared, owned by the kernel's process. Free of torch."""

from __future__ import annotations

import mmap
import os
import tempfile


def create_host_memory(size: int) -> int:
    """A descriptor of `size` bytes of shared memory, zeroed and taken from the machine only as it is
    written.
    """
    descriptor = _anonymous()
    os.ftruncate(descriptor, size)
    return descriptor


def map_host_memory(descriptor: int, size: int) -> mmap.mmap:
    """The memory behind a descriptor, shared with everybody else who maps it."""
    return mmap.mmap(descriptor, size)


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("llmos-host-pool")
    descriptor, path = tempfile.mkstemp(prefix="llmos-host-pool-")
    os.unlink(path)
    return descriptor
