"""The ready queue: who runs next.

Ranks are strict. Inside a rank, preempted processes come first, oldest preemption first; then lanes by the service that
each lane got (a virtual token counter, lifted when a lane comes back from having nothing to do), and inside a lane the
policy's order. Every operation is O(log n) in the processes of a rank.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from sortedcontainers import SortedDict, SortedKeyList

from llmos.kernel.core.pager import RANKS
from llmos.kernel.core.policy import STANDARD_WEIGHT, Key, Policy, policy_for
from llmos.kernel.core.process import Process

AGED_AT_ONCE = 128
"""Tickets looked at for aging before one plan, so that a crowd that ages together does not hold up a step."""


@dataclass(slots=True, eq=False)
class _Ticket:
    process: Process
    key: Key
    lane: str
    front: bool
    rank: int
    at: float


def _key(ticket: _Ticket) -> tuple[Key, int]:
    return ticket.key, ticket.process.pid


def _is_of(ticket: _Ticket, tenant: str) -> bool:
    return ticket.process.tenant == tenant


@dataclass(slots=True, eq=False)
class _Lane:
    name: str
    service: float = 0.0
    tickets: SortedKeyList = field(default_factory=lambda: SortedKeyList(key=_key))


class _RankQueue:
    """Ready processes of one rank."""

    def __init__(self) -> None:
        self.front: SortedKeyList = SortedKeyList(key=_key)
        self.lanes: dict[str, _Lane] = {}
        self.order: SortedDict = SortedDict()
        self.floor = 0.0
        self.count = 0

    def add(self, ticket: _Ticket) -> None:
        self.count += 1
        if ticket.front:
            self.front.add(ticket)
            return
        lane = self.lanes.setdefault(ticket.lane, _Lane(ticket.lane))
        if not lane.tickets:
            lane.service = max(lane.service, self.floor)
            self.order[lane.service, lane.name] = lane
        lane.tickets.add(ticket)

    def remove(self, ticket: _Ticket) -> None:
        self.count -= 1
        if ticket.front:
            self.front.remove(ticket)
            return
        lane = self.lanes[ticket.lane]
        lane.tickets.remove(ticket)
        if not lane.tickets:
            del self.order[lane.service, lane.name]

    def head(self) -> _Ticket | None:
        if self.front:
            ticket: _Ticket = self.front[0]
            return ticket
        if not self.order:
            return None
        lane: _Lane = self.order.peekitem(0)[1]
        first: _Ticket = lane.tickets[0]
        return first

    def charge(self, name: str, service: float) -> None:
        lane = self.lanes.setdefault(name, _Lane(name, self.floor))
        if lane.tickets:
            del self.order[lane.service, lane.name]
        lane.service += service
        if lane.tickets:
            self.order[lane.service, lane.name] = lane
            self.floor = max(self.floor, self.order.peekitem(0)[0][0])

    def forget(self, name: str) -> None:
        lane = self.lanes.get(name)
        if lane is not None and not lane.tickets:
            del self.lanes[name]


class ReadyQueue:
    """All ready processes of one engine."""

    def __init__(self, policy: Policy, aging_seconds: float) -> None:
        self.policy = policy
        self.aging_seconds = aging_seconds
        self._ranks = tuple(_RankQueue() for _ in range(RANKS))
        self._tickets: dict[int, _Ticket] = {}
        self._aging: list[tuple[float, int, float]] = []
        self._floors: dict[str, float] = {}
        self._unsettled: dict[tuple[int, str], float] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, process: Process) -> bool:
        return process.pid in self._tickets

    def add(self, process: Process, now: float) -> None:
        """The process is ready. Its own counter is lifted to what its lane's others have got."""
        policy = policy_for(self.policy, process)
        lane = policy.lane(process)
        if not process.preempted:
            process.service = max(process.service, self._floors.get(process.principal, 0.0))
        key = (process.since,) if process.preempted else policy.key(process)
        ticket = _Ticket(process, key, lane, process.preempted, process.rank, now)
        self._tickets[process.pid] = ticket
        self._ranks[ticket.rank].add(ticket)
        heapq.heappush(self._aging, (now + self.aging_seconds, process.pid, now))

    def remove(self, process: Process) -> None:
        """The process is ready no longer."""
        ticket = self._tickets.pop(process.pid)
        self._ranks[ticket.rank].remove(ticket)
        if len(self._aging) > 64 + 2 * len(self._tickets):
            self._aging = [entry for entry in self._aging if entry[1] in self._tickets]
            heapq.heapify(self._aging)

    def head(self) -> Process | None:
        """Who is next."""
        for rank in reversed(self._ranks):
            ticket = rank.head()
            if ticket is not None:
                return ticket.process
        return None

    def before(self, process: Process, tenant: str | None = None) -> int:
        """How many ready processes, of a tenant or of all, go before this one (in its own rank: as things stand)."""
        ticket = self._tickets.get(process.pid)
        if ticket is None:
            return 0
        own = self._ranks[ticket.rank]
        ahead = own.front if ticket.front else own.lanes[ticket.lane].tickets
        place = int(ahead.index(ticket))
        if tenant is None:
            above = sum(rank.count for rank in self._ranks[ticket.rank + 1 :])
            return above + place + (0 if ticket.front else len(own.front))
        first = [*ahead[:place], *(() if ticket.front else own.front)]
        above = sum(_is_of(other, tenant) for other in self._tickets.values() if other.rank > ticket.rank)
        return above + sum(_is_of(other, tenant) for other in first)

    def charge(self, process: Process, service: float) -> None:
        """The process got service, in tokens weighted by cost. (Sheng et al., OSDI 2024; start lifted as in CFS.)

        Lanes are charged by the next `settle`: once a step, not once a process.
        """
        process.service += service * STANDARD_WEIGHT / process.weight
        lane = process.rank, policy_for(self.policy, process).lane(process)
        self._unsettled[lane] = self._unsettled.get(lane, 0.0) + service

    def settle(self) -> None:
        """Charge the lanes for the service that was given since the last time."""
        for (rank, lane), service in self._unsettled.items():
            self._ranks[rank].charge(lane, service)
        self._unsettled.clear()

    def lift(self, running: list[Process]) -> None:
        """Remember, per principal, the least counter among those served, so that newcomers start there."""
        least: dict[str, float] = {}
        for process in running:
            least[process.principal] = min(least.get(process.principal, process.service), process.service)
        for principal, service in least.items():
            self._floors[principal] = max(self._floors.get(principal, 0.0), service)

    def forget(self, principal: str) -> None:
        """The principal has no process any more."""
        self._floors.pop(principal, None)
        for rank in self._ranks:
            rank.forget(principal)

    def age(self, now: float) -> None:
        """Whoever has waited long gains a rank, below `realtime`; a bounded number at once, others at the next step."""
        for _ in range(AGED_AT_ONCE):
            if not self._aging or self._aging[0][0] > now:
                return
            _, pid, since = heapq.heappop(self._aging)
            ticket = self._tickets.get(pid)
            if ticket is None or ticket.at != since:
                continue
            process = ticket.process
            if not process.promote():
                continue
            self.remove(process)
            process.note(now, f"waited {self.aging_seconds:g} s: one class higher until it has run")
            self.add(process, now)
