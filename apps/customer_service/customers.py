"""Who a customer is, and what is remembered of one.

Each customer has a namespace of memory of their own, and a search looks into one namespace: what one customer said
cannot be found for another. A customer is who the caller says, among the caller's own: two shops that both have a
customer 7 have two. Names of namespaces go to the audit log and pseudonyms to the app's own, so both are made with a
secret of the app's: who does not have it cannot try out which customer it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

import llmos

SECRET = "secret"
KEEP_SECONDS = 180 * 24 * 3600.0
"""How long something that a customer said is kept."""
MOST_CHARACTERS = 2000
"""Of one item."""


@dataclass(frozen=True, slots=True)
class Customer:
    """`principal` is the program or person that speaks for the customer, `name` what it calls the customer."""

    principal: str
    name: str


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Names that say nothing to who does not have the secret."""

    secret: bytes

    def of(self, customer: Customer) -> str:
        """Always the same for the same customer of the same principal."""
        whole = f"{len(customer.principal)}:{customer.principal}:{customer.name}".encode("utf-8", "surrogatepass")
        return blake2b(whole, key=self.secret, digest_size=16).hexdigest()

    def namespace(self, customer: Customer) -> str:
        """Where the customer's words are."""
        return f"customer-{self.of(customer)}"


async def pseudonyms(system: llmos.AsyncSystem) -> Pseudonyms:
    """With the secret in the app's files; the first call makes it."""
    try:
        async with system.files.open(SECRET, "x") as file:
            await file.write(secrets.token_bytes(32))
    except llmos.AlreadyExists:
        pass
    return Pseudonyms(await system.files.read_bytes(SECRET))


@dataclass(frozen=True, slots=True)
class Remembered:
    """Something that was said; `cosine` with what is asked now. `at` is seconds since the epoch."""

    text: str
    at: float
    cosine: float

    @property
    def day(self) -> str:
        """When, in the words of a letter."""
        return datetime.fromtimestamp(self.at, UTC).strftime("%-d %B %Y")


@dataclass(frozen=True, slots=True)
class Past:
    """What is remembered of one customer."""

    system: llmos.AsyncSystem
    namespace: str

    async def remember(self, text: str) -> None:
        """Keep what the customer said, on the disk when this returns."""
        await self.system.memory.put(
            text[:MOST_CHARACTERS], namespace=self.namespace, trust="external", expires=KEEP_SECONDS
        )

    async def recall(self, question: str, limit: int = 3) -> Sequence[Remembered]:
        """What fits a question best, best first."""
        found = await self.system.memory.search(question, limit, namespace=self.namespace, mode="vector")
        return [Remembered(one.text, one.updated, one.score or 0.0) for one in found]

    async def forget(self) -> int:
        """Erase all of it; how many items it was."""
        return (await self.system.memory.forget(namespace=self.namespace, all=True)).items
