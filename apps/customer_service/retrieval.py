"""Finding evidence for a question, by words and by meaning."""

from __future__ import annotations

import asyncio

import llmos

from .evidence import Evidence, ranked
from .library import KNOWLEDGE

LOOKED_AT = 10
"""Passages that each search gives."""
MOST_QUESTION = 1000
"""Characters of a question that are searched for."""


async def find(system: llmos.AsyncSystem, question: str, namespace: str = KNOWLEDGE) -> tuple[Evidence, ...]:
    """What may answer a question, nearest first; empty when there are no documents."""
    asked = question[:MOST_QUESTION]
    fused, near = await asyncio.gather(
        system.memory.search(asked, LOOKED_AT, namespace=namespace),
        system.memory.search(asked, LOOKED_AT, namespace=namespace, mode="vector"),
    )
    return ranked(asked, fused, near)
