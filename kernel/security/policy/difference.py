"""What a change of the policy changes: lines of rules, and answers to calls of the past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from llmos.kernel.security.policy.decisions import Decision, Policy
from llmos.kernel.security.policy.document import Document
from llmos.kernel.security.policy.recorded import RecordedCall, different


@dataclass(frozen=True, slots=True)
class Changed:
    """A call of the past and the other answer that it would get."""

    call: RecordedCall
    decision: Decision


def changes(old: Document, new: Document) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines that are added, and those that are taken away; a line that only moves is neither."""
    before, after = Counter(_lines(old)), Counter(_lines(new))
    return tuple((after - before).elements()), tuple((before - after).elements())


def difference(calls: Iterable[RecordedCall], policy: Policy) -> tuple[int, list[Changed]]:
    """How many different calls there were, and those that the policy would answer otherwise, most frequent first."""
    asked = different(calls)
    found = [
        Changed(call, decision)
        for call in asked
        if (decision := policy.decide(call.question())).allowed != call.allowed
    ]
    return len(asked), sorted(found, key=lambda changed: -changed.call.count)


def _lines(document: Document) -> list[str]:
    return [str(line) for line in (*document.rules, *document.grants)]
