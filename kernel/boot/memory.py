"""Opens long-term memory: its database, its way to the encoder, and its upkeep."""

from __future__ import annotations

from dataclasses import dataclass

from llmos.drivers.store.memory.quotas import Quotas
from llmos.drivers.store.memory.store import MemoryStore
from llmos.kernel.boot.service import Boot
from llmos.kernel.gate.calls.memory_upkeep import Upkeep
from llmos.kernel.gate.calls.vectors import Vectors
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.encoder import Embedder
from llmos.kernel.ports.memory import Memory


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """The parts."""

    store: Memory
    vectors: Vectors
    upkeep: Upkeep

    def close(self) -> None:
        """Finish what was begun."""
        self.upkeep.close()
        self.vectors.close()
        self.store.close()


def open_memory(boot: Boot, shell: Shell, embedder: Embedder) -> MemoryParts:
    """Raises `InvalidArgument` for a damaged file, `DeviceError`."""
    section = boot.settings.memory
    quotas = Quotas(section.items_per_owner, section.bytes_per_owner)
    store = MemoryStore(boot.home.store / "memory.db", quotas, section.index_memory)
    vectors = Vectors(boot.loop, embedder, store)
    upkeep = Upkeep(boot.loop, store, vectors)
    shell.on_forked.append(upkeep.forked)
    return MemoryParts(store, vectors, upkeep)
