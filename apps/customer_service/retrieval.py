"""Finding evidence for a question: by words, by meaning, and by likeness to the questions that headings are."""

from __future__ import annotations

import asyncio

import llmos

from .evidence import Evidence, Found, ranked
from .library import HEADINGS, KNOWLEDGE

LOOKED_AT = 10
"""Passages that each search gives."""
HEADINGS_LOOKED_AT = 40
MOST_QUESTION = 1000
"""Characters of a question that are searched for."""


async def find(system: llmos.AsyncSystem, question: str, namespace: str = KNOWLEDGE) -> tuple[Evidence, ...]:
    """What may answer a question, nearest first; empty when there are no documents."""
    asked = question[:MOST_QUESTION]
    fused, near, headings = await asyncio.gather(
        system.memory.search(asked, LOOKED_AT, namespace=namespace),
        system.memory.search(asked, LOOKED_AT, namespace=namespace, mode="vector"),
        system.memory.search(asked, HEADINGS_LOOKED_AT, namespace=HEADINGS, mode="vector"),
    )
    return ranked(asked, Found(fused, near, headings))
