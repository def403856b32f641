"""Any sequence of sends, takes, acknowledgements, leases that end and restarts: nothing is lost, nothing acknowledged
comes again, and of one sender the older message is never behind the newer.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from llmos.drivers.store.mail import MailDatabase
from llmos.kernel.ports import mail as p
from llmos.syscalls.abi.words import Pid

OWNER = p.MailOwner("alice", "default")
PIDS = st.sampled_from([Pid(7), Pid(8)])
SCOPES = st.sampled_from([p.Scope(OWNER), p.Scope(OWNER, Pid(7)), p.Scope(OWNER, Pid(8))])
LIMITS = p.MailLimits(mailbox_messages=6, dead_letters=4, deliveries=3, keep_seconds=300.0, remember_seconds=100.0)


class MailMachine(RuleBasedStateMachine):
    """The store beside a model of what it must hold: the numbers of each mailbox, who holds which, and until when."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="llmos-"))
        self.store = MailDatabase(self.folder / "mail.db", LIMITS)
        self.store.recover()
        self.now = 1000.0
        self.waiting: dict[int, Pid] = {}
        self.leases: dict[int, tuple[Pid, float]] = {}
        self.deliveries: dict[int, int] = {}
        self.dead: dict[int, Pid] = {}
        self.ids: dict[tuple[Pid, str], int] = {}
        self.from_whom: dict[int, str] = {}
        self.gone: set[int] = set()

    def do(self, *operations: p.Operation) -> tuple[p.Outcome, ...]:
        for number, (_, due) in list(self.leases.items()):
            if due <= self.now:
                self.free(number)
        return self.store.perform(operations, self.now).result(30).outcomes

    def free(self, number: int) -> None:
        pid, _ = self.leases.pop(number)
        if self.deliveries[number] >= LIMITS.deliveries:
            self.bury(number, pid)
        else:
            self.waiting[number] = pid

    def bury(self, number: int, pid: Pid) -> None:
        self.dead[number] = pid
        while len(self.dead) > LIMITS.dead_letters:
            del self.dead[min(self.dead)]

    def held(self, pid: Pid) -> int:
        return sum(at == pid for at in self.waiting.values()) + sum(at == pid for at, _ in self.leases.values())

    def share(self, pid: Pid, who: str) -> int:
        there = [number for number, at in self.waiting.items() if at == pid]
        there += [number for number, (at, _) in self.leases.items() if at == pid]
        return sum(self.from_whom[number] == who for number in there)

    @rule(
        pid=PIDS,
        who=st.sampled_from(["bob", "carol", OWNER.name]),
        sender=st.sampled_from([0, 3]),
        id=st.sampled_from([None, None, "a", "b"]),
    )
    def send(self, pid: Pid, who: str, sender: int, id: str | None) -> None:
        (outcome,) = self.do(p.Deliver(pid, OWNER, p.Draft(b"x", who, sender, id and f"{sender}{id}")))
        known = self.ids.get((pid, f"{who}{sender}{id}")) if id else None
        free = LIMITS.mailbox_messages - self.held(pid)
        within = who == OWNER.name or self.share(pid, who) < free
        match outcome:
            case p.Delivered(number, again=True):
                assert number == known
            case p.Delivered(number):
                assert known is None or known in self.gone or known not in self.deliveries
                assert number not in self.deliveries
                assert free > 0
                assert within
                self.waiting[number], self.deliveries[number] = pid, 0
                self.from_whom[number] = who
                if id:
                    self.ids[pid, f"{who}{sender}{id}"] = number
            case p.Full(share=True):
                assert free > 0
                assert not within
            case p.Full():
                assert free == 0
            case _:
                raise AssertionError(outcome)

    @rule(scope=SCOPES, count=st.integers(1, 4), lease=st.sampled_from([5.0, 50.0]))
    def take(self, scope: p.Scope, count: int, lease: float) -> None:
        (outcome,) = self.do(p.Take(scope, count, lease))
        assert isinstance(outcome, p.Taken)
        wanted = sorted(n for n, pid in self.waiting.items() if scope.pid in (None, pid))[:count]
        assert [mail.number for mail in outcome.messages] == wanted
        for mail in outcome.messages:
            self.deliveries[mail.number] += 1
            assert mail.deliveries == self.deliveries[mail.number]
            self.leases[mail.number] = (self.waiting.pop(mail.number), self.now + lease)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        if not self.deliveries:
            return
        number = data.draw(st.sampled_from(sorted(self.deliveries)))
        self.do()
        there = number in self.waiting or number in self.leases or number in self.dead
        assert self.do(p.Settle(p.Scope(OWNER), (number,))) == (p.Counted(there),)
        self.waiting.pop(number, None)
        self.leases.pop(number, None)
        self.dead.pop(number, None)
        self.gone.add(number)

    @rule(data=st.data(), unseen=st.booleans())
    def give_back(self, data: st.DataObject, unseen: bool) -> None:
        self.do()
        if not self.leases:
            return
        number = data.draw(st.sampled_from(sorted(self.leases)))
        assert self.do(p.GiveBack(p.Scope(OWNER), (number,), unseen)) == (p.Counted(1),)
        self.deliveries[number] -= unseen
        self.free(number)

    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        """What was committed is there; who had taken something is gone. Nothing is counted that was not given out."""
        self.do()
        self.store.close()
        self.store = MailDatabase(self.folder / "mail.db", LIMITS)
        kept = self.store.recover()
        for number, (pid, _) in list(self.leases.items()):
            del self.leases[number]
            self.waiting[number] = pid
        assert (kept.tally.messages, kept.tally.dead) == (len(self.waiting), len(self.dead))

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "store"):
            return
        self.do()
        for pid in (Pid(7), Pid(8)):
            (contents,) = self.do(p.Describe(pid))
            assert isinstance(contents, p.Contents)
            assert contents.waiting == sum(at == pid for at in self.waiting.values())
            assert contents.taken == sum(at == pid for at, _ in self.leases.values())
            assert contents.dead == sum(at == pid for at in self.dead.values())

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


TestMailMachine = MailMachine.TestCase
TestMailMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
