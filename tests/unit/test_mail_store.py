"""Messages in their store: what is kept, in which order it comes out, when it comes again, and when it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmos.drivers.store.mail import MailDatabase
from llmos.kernel.ports import mail as p
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import Pid

ALICE, BOB = p.MailOwner("alice", "default"), p.MailOwner("bob", "default")
MAILBOX, OTHER, BOBS = Pid(7), Pid(8), Pid(9)
LIMITS = p.MailLimits(
    mailbox_messages=5,
    mailbox_bytes=100,
    principal_messages=8,
    principal_bytes=150,
    dead_letters=3,
    dead_bytes=50,
    deliveries=3,
    keep_seconds=1000.0,
    remember_seconds=100.0,
    remembered=4,
    subscriptions=3,
)


@dataclass(slots=True)
class Post:
    """A store and its clock."""

    path: Path
    store: MailDatabase
    now: float = 10_000.0
    limits: p.MailLimits = LIMITS

    def do(self, *operations: p.Operation) -> p.BatchReport:
        """One batch."""
        return self.store.perform(operations, self.now).result(10)

    def one(self, operation: p.Operation) -> p.Outcome:
        """One operation in a batch of its own."""
        return self.do(operation).outcomes[0]

    def send(
        self,
        body: bytes = b"x",
        pid: Pid = MAILBOX,
        owner: p.MailOwner = ALICE,
        principal: str = "alice",
        sender: int = 0,
        id: str | None = None,
        tag: str | None = None,
        topic: str | None = None,
    ) -> p.Outcome:
        """Deliver one message."""
        return self.one(p.Deliver(pid, owner, p.Draft(body, principal, sender, id, tag, topic)))

    def take(
        self,
        count: int = 10,
        pid: Pid | None = MAILBOX,
        wanted: p.Wanted | None = None,
        dead: bool = False,
        owner: p.MailOwner = ALICE,
    ) -> tuple[p.StoredMail, ...]:
        """Take messages for 30 seconds."""
        taken = self.one(p.Take(p.Scope(owner, pid), count, 30.0, wanted or p.Wanted(), dead=dead))
        assert isinstance(taken, p.Taken)
        return taken.messages

    def bodies(self, count: int = 10, pid: Pid | None = MAILBOX, dead: bool = False) -> list[bytes]:
        """Take messages; what is in them."""
        return [mail.body for mail in self.take(count, pid, dead=dead)]

    def settle(self, *numbers: int, scope: p.Scope | None = None) -> p.Outcome:
        """Be done with messages."""
        return self.one(p.Settle(scope or p.Scope(ALICE, MAILBOX), numbers))

    def again(self) -> p.Kept:
        """Close it and open it again."""
        self.store.close()
        self.store = MailDatabase(self.path, self.limits)
        return self.store.recover()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    path = tmp_path / "mail.db"
    opened = Post(path, MailDatabase(path, LIMITS))
    assert opened.store.recover() == p.Kept((), (), p.Tally())
    yield opened
    opened.store.close()


def test_messages_come_out_in_the_order_in_which_they_went_in(post: Post) -> None:
    for body in (b"1", b"2", b"3"):
        post.send(body)
    assert post.bodies(2) == [b"1", b"2"]
    assert post.bodies() == [b"3"]
    assert post.bodies() == []


def test_a_message_carries_everything_that_was_said_about_it(post: Post) -> None:
    sent = post.send(b"hello", principal="bob", sender=3, id="first", tag="greeting", topic="bob/news")
    assert sent == p.Delivered(1)
    (mail,) = post.take()
    assert mail == p.StoredMail(1, MAILBOX, b"hello", "bob", 10_000.0, 1, "first", "greeting", 3, "bob/news", "")


def test_numbers_rise_over_all_mailboxes_and_are_not_given_twice_after_a_restart(post: Post) -> None:
    assert [post.send(), post.send(pid=OTHER)] == [p.Delivered(1), p.Delivered(2)]
    post.settle(1, 2, scope=p.Scope(ALICE))
    post.again()
    assert post.send() == p.Delivered(3)


def test_an_owner_takes_from_all_mailboxes_oldest_first(post: Post) -> None:
    post.send(b"1")
    post.send(b"2", pid=OTHER)
    post.send(b"bob's", pid=BOBS, owner=BOB)
    post.send(b"3")
    assert post.bodies(pid=None) == [b"1", b"2", b"3"]


def test_a_receiver_chooses_by_sender_tag_and_topic_and_leaves_the_rest(post: Post) -> None:
    post.send(b"1", sender=3, tag="a")
    post.send(b"2", sender=4, tag="b")
    post.send(b"3", topic="alice/news")
    assert [mail.body for mail in post.take(wanted=p.Wanted(sender=4))] == [b"2"]
    assert [mail.body for mail in post.take(wanted=p.Wanted(tag="b"))] == []
    assert [mail.body for mail in post.take(wanted=p.Wanted(topic="alice/news"))] == [b"3"]
    assert [mail.body for mail in post.take(wanted=p.Wanted(3, "a"))] == [b"1"]


def test_what_was_acknowledged_is_gone_and_of_others_nothing_goes(post: Post) -> None:
    post.send()
    post.send(pid=BOBS, owner=BOB)
    assert post.settle(1, 2, 99) == p.Counted(1)
    assert post.settle(1) == p.Counted(0)
    assert post.settle(2, scope=p.Scope(ALICE)) == p.Counted(0)
    assert post.one(p.Describe(BOBS)) == p.Contents(1, 0, 0, 1)


def test_a_take_acknowledges_first(post: Post) -> None:
    post.send(b"1")
    post.send(b"2")
    (first,) = post.take(1)
    report = post.do(p.Take(p.Scope(ALICE, MAILBOX), 5, 30.0, acknowledge=(first.number,)))
    assert [mail.body for mail in report.outcomes[0].messages] == [b"2"]  # type: ignore[union-attr] # it was a take
    assert post.one(p.Describe(MAILBOX)) == p.Contents(0, 1, 0, 1)


def test_what_is_not_acknowledged_within_its_lease_comes_again_and_first(post: Post) -> None:
    post.send(b"1")
    post.send(b"2")
    assert post.do(p.Take(p.Scope(ALICE, MAILBOX), 1, 30.0)).next_due == 10_030.0
    post.now += 29.0
    assert post.bodies() == [b"2"]
    post.now += 1.0
    report = post.do()
    assert [arrival.pid for arrival in report.arrivals] == [MAILBOX]
    (again,) = post.take()
    assert (again.body, again.deliveries) == (b"1", 2)


def test_after_a_restart_what_was_taken_comes_again(post: Post) -> None:
    post.send(b"1")
    post.send(b"2")
    post.take(1)
    assert post.again() == p.Kept(((MAILBOX, ALICE),), (), p.Tally(2, 2))
    assert [(mail.body, mail.deliveries) for mail in post.take()] == [(b"1", 2), (b"2", 1)]


def test_what_is_given_back_comes_at_once_and_counts_unless_nobody_saw_it(post: Post) -> None:
    post.send()
    scope = p.Scope(ALICE, MAILBOX)
    post.take()
    assert post.one(p.GiveBack(scope, (1, 99), unseen=True)) == p.Counted(1)
    assert post.take()[0].deliveries == 1
    assert post.one(p.GiveBack(scope, (1,))) == p.Counted(1)
    assert post.take()[0].deliveries == 2
    assert post.one(p.GiveBack(p.Scope(BOB), (1,))) == p.Counted(0)


def test_what_was_given_out_too_often_is_a_dead_letter(post: Post) -> None:
    post.send()
    for _ in range(3):
        assert post.take()
        post.now += 31.0
    assert post.take() == ()
    (dead,) = post.take(dead=True)
    assert "3 times" in dead.dead
    assert post.take(dead=True) == ()
    post.now += 31.0
    assert [mail.deliveries for mail in post.take(dead=True)] == [3]
    assert post.settle(1) == p.Counted(1)
    assert post.one(p.Describe(MAILBOX)) == p.Contents()


def test_what_nobody_takes_in_time_is_a_dead_letter_and_then_gone(post: Post) -> None:
    post.send()
    post.now += 1001.0
    post.one(p.Sweep())
    assert [mail.dead for mail in post.take(dead=True)] == ["nobody took it in time"]
    post.now += 1000.0
    report = post.do(p.Sweep())
    assert report.tally.dropped == 1
    assert post.one(p.Describe(MAILBOX)) == p.Contents()


@pytest.mark.parametrize(("size", "sent", "limit"), [(1, 5, "mailbox_messages is 5"), (40, 2, "mailbox_bytes is 100")])
def test_a_full_mailbox_says_by_which_limit_and_takes_more_when_there_is_room(
    post: Post, size: int, sent: int, limit: str
) -> None:
    for _ in range(sent):
        assert isinstance(post.send(b"x" * size), p.Delivered)
    full = post.send(b"x" * size)
    assert isinstance(full, p.Full)
    assert limit in full.limit
    report = post.do(p.Settle(p.Scope(ALICE, MAILBOX), (1,)))
    assert report.freed == ((ALICE, 1),)
    assert isinstance(post.send(b"x" * size), p.Delivered)


@pytest.mark.parametrize(("size", "limit"), [(1, "principal_messages is 8"), (30, "principal_bytes is 150")])
def test_all_mailboxes_of_a_principal_have_limits_together(post: Post, size: int, limit: str) -> None:
    outcomes = [post.send(b"x" * size, pid=Pid(20 + number)) for number in range(9)]
    assert isinstance(outcomes[-1], p.Full)
    assert limit in outcomes[-1].limit
    assert isinstance(post.send(b"x" * size, pid=BOBS, owner=BOB), p.Delivered)


def test_nobody_gets_in_before_one_who_was_refused_and_waits(post: Post) -> None:
    for _ in range(5):
        post.send()
    waits = p.Deliver(MAILBOX, ALICE, p.Draft(b"first", "alice"), patient=True)
    later = p.Deliver(MAILBOX, ALICE, p.Draft(b"later", "alice"))
    first, _, second = post.do(waits, p.Settle(p.Scope(ALICE, MAILBOX), (1,)), later).outcomes
    assert isinstance(first, p.Full)
    assert isinstance(second, p.Full)


def test_the_same_id_of_the_same_sender_is_the_same_message(post: Post) -> None:
    assert post.send(id="a") == p.Delivered(1)
    assert post.send(b"other", id="a") == p.Delivered(1, again=True)
    assert post.send(id="a", sender=3) == p.Delivered(2)
    assert post.send(id="a", principal="bob") == p.Delivered(3)
    assert post.send(id="a", pid=OTHER) == p.Delivered(4)
    post.settle(1)
    assert post.again().tally.messages == 3
    assert post.send(id="a") == p.Delivered(1, again=True)
    post.now += 101.0
    assert post.send(id="a") == p.Delivered(5)


def test_ids_of_what_is_gone_are_forgotten_oldest_first(post: Post) -> None:
    for number in range(6):
        post.send(id=str(number))
        post.settle(number + 1)
    assert [post.send(id=str(number)) for number in (5, 2)] == [p.Delivered(6, True), p.Delivered(3, True)]
    assert post.send(id="1") == p.Delivered(7)
    post.now += 101.0
    post.one(p.Sweep())
    assert post.send(id="5") == p.Delivered(8)


def test_what_is_published_to_a_full_mailbox_is_a_dead_letter_and_the_oldest_go(post: Post) -> None:
    for _ in range(5):
        post.send()
    to = ((MAILBOX, ALICE), (BOBS, BOB))
    reports = [post.do(p.Spread(to, p.Draft(b"%d" % number, "bob", topic="bob/news"))) for number in range(4)]
    assert [report.outcomes for report in reports] == [(p.Counted(1),)] * 4
    assert sum(report.tally.dropped for report in reports) == 1
    assert post.bodies(dead=True) == [b"1", b"2", b"3"]
    assert len(post.take(pid=BOBS, owner=BOB)) == 4


def test_a_publication_with_an_id_comes_once(post: Post) -> None:
    spread = p.Spread(((MAILBOX, ALICE),), p.Draft(b"x", "bob", id="a", topic="bob/news"))
    assert [post.one(spread), post.one(spread)] == [p.Counted(1), p.Counted(0)]
    assert len(post.take()) == 1


def test_subscriptions_are_kept_and_are_bounded(post: Post) -> None:
    enrol = p.Enrol("bob/news", MAILBOX, ALICE)
    assert [post.one(enrol), post.one(enrol)] == [p.Counted(1), p.Counted(0)]
    assert post.again() == p.Kept(((MAILBOX, ALICE),), (("bob/news", MAILBOX),), p.Tally())
    post.one(p.Enrol("bob/more", MAILBOX, ALICE))
    post.one(p.Enrol("bob/most", MAILBOX, ALICE))
    assert isinstance(post.one(p.Enrol("bob/all", MAILBOX, ALICE)), p.Full)
    assert [post.one(p.Resign("bob/more", MAILBOX)), post.one(p.Resign("bob/more", MAILBOX))] == [
        p.Counted(1),
        p.Counted(0),
    ]


def test_a_mailbox_goes_when_its_process_is_gone_and_it_is_empty(post: Post) -> None:
    post.send()
    post.one(p.Enrol("bob/news", MAILBOX, ALICE))
    ended = post.do(p.EndMailbox(MAILBOX), p.EndMailbox(OTHER))
    assert (ended.closed, ended.resigned) == ((), (MAILBOX,))
    assert post.do(p.Settle(p.Scope(ALICE, MAILBOX), (1,))).closed == (MAILBOX,)
    assert post.again().mailboxes == ()


def test_a_mailbox_without_process_that_nobody_looks_at_hears_no_topic_for_ever(post: Post) -> None:
    post.one(p.Enrol("bob/news", MAILBOX, ALICE))
    post.again()
    post.send()
    post.now += 1001.0
    assert post.do(p.Sweep()).resigned == (MAILBOX,)


def test_what_arrives_and_is_taken_in_one_batch_is_offered_to_nobody(post: Post) -> None:
    report = post.do(p.Deliver(MAILBOX, ALICE, p.Draft(b"x", "bob")), p.Take(p.Scope(ALICE), 1, 30.0))
    assert report.arrivals == ()
    assert isinstance(report.outcomes[1], p.Taken)


def test_a_damaged_store_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(InvalidArgument, match="damaged"):
        MailDatabase(path, LIMITS)
