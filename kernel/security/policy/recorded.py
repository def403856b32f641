"""Calls of the past, as policy tools look at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from llmos.kernel.core.principal import Principal
from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.conditions import Circumstances
from llmos.kernel.security.policy.decisions import Question


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call that was made `count` times; `tenant` is the object's. When it was is told where rules ask for it."""

    principal: Principal
    tenant: str
    object: str
    action: str
    attributes: str
    allowed: bool
    count: int = 1
    minute: int = 0
    weekday: int = 0

    def question(self) -> Question:
        """The question that it was."""
        asked = parse_attributes(self.attributes)
        circumstances = Circumstances(asked, self.principal.kind, self.minute, self.weekday)
        return Question(self.principal, self.tenant, self.object, self.action, circumstances)


def different(calls: Iterable[RecordedCall]) -> list[RecordedCall]:
    """Each call once, with how often it was made in all."""
    counts: dict[RecordedCall, int] = {}
    for call in calls:
        once = replace(call, count=1)
        counts[once] = counts.get(once, 0) + call.count
    return [replace(call, count=count) for call, count in counts.items()]
