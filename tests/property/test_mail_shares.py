"""Senders of any number, in any order, with any removals: what they leave free in a mailbox, and to whom."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.drivers.store.mail import MailDatabase
from llmos.kernel.ports import mail as p
from llmos.syscalls.abi.words import Pid

OWNER, MAILBOX, OTHER = p.MailOwner("alice", "default"), Pid(7), Pid(8)
NEWCOMER = "newcomer"

SENDS = st.tuples(st.sampled_from("abcde"), st.integers(1, 40))
"""Who, and how often at most: until it is refused."""
STEPS = st.lists(st.one_of(SENDS, st.integers(0, 60)), max_size=12)
"""Sends, and the places of messages that are taken out."""


def outcomes(limits: p.MailLimits, operations: list[p.Operation]) -> tuple[p.Outcome, ...]:
    """Of one batch in a store of its own."""
    with tempfile.TemporaryDirectory(prefix="llmos-") as folder:
        store = MailDatabase(Path(folder) / "mail.db", limits)
        try:
            store.recover()
            return store.perform(tuple(operations), 0.0).result(60).outcomes
        finally:
            store.close()


def deliver(who: str, pid: Pid = MAILBOX, size: int = 1) -> p.Deliver:
    """A message to a mailbox of alice's."""
    return p.Deliver(pid, OWNER, p.Draft(bytes(size), who))


def operations_of(steps: list[tuple[str, int] | int]) -> list[p.Operation]:
    """The steps as operations; a number of a message that is not there takes nothing out."""
    found: list[p.Operation] = []
    for step in steps:
        if isinstance(step, int):
            found.append(p.Settle(p.Scope(OWNER), (step,)))
        else:
            found += [deliver(step[0])] * step[1]
    return found


@settings(max_examples=60)
@given(st.integers(1, 40), STEPS)
def test_n_senders_leave_a_part_in_two_to_the_n_free_whatever_was_taken_out(
    capacity: int, steps: list[tuple[str, int] | int]
) -> None:
    operations = operations_of(steps)
    holding: dict[int, str] = {}
    for operation, outcome in zip(
        operations, outcomes(p.MailLimits(mailbox_messages=capacity), operations), strict=True
    ):
        match operation, outcome:
            case p.Deliver(draft=draft), p.Delivered(number):
                holding[number] = draft.principal
            case p.Settle(numbers=(number,)), _:
                holding.pop(number, None)
        assert capacity - len(holding) >= capacity >> len(set(holding.values()))


@settings(max_examples=60)
@given(st.integers(1, 40), STEPS)
def test_who_holds_nothing_gets_in_as_long_as_there_is_any_room(
    capacity: int, steps: list[tuple[str, int] | int]
) -> None:
    operations: list[p.Operation] = [*operations_of(steps), p.Describe(MAILBOX), deliver(NEWCOMER)]
    *_, contents, last = outcomes(p.MailLimits(mailbox_messages=capacity), operations)
    assert isinstance(contents, p.Contents)
    assert isinstance(last, p.Delivered) == (contents.waiting < capacity)


@settings(max_examples=30)
@given(st.integers(1, 400), st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 100)), max_size=12))
def test_the_same_holds_for_bytes_up_to_one_message_of_each(capacity: int, sends: list[tuple[str, int]]) -> None:
    operations = [deliver(who, size=size) for who, size in sends]
    limits = p.MailLimits(mailbox_bytes=capacity)
    held: dict[str, int] = {}
    for (who, size), outcome in zip(sends, outcomes(limits, [*operations]), strict=True):
        free = capacity - sum(held.values())
        fits = size <= free and held.get(who, 0) + size <= free
        assert isinstance(outcome, p.Delivered) == fits
        if fits:
            held[who] = held.get(who, 0) + size


def test_one_sender_gets_half_of_a_mailbox_and_its_owner_all_of_it() -> None:
    limits = p.MailLimits(mailbox_messages=10)
    for who, most in (("bob", 5), ("alice", 10)):
        found = outcomes(limits, [deliver(who)] * 11)
        assert [isinstance(outcome, p.Delivered) for outcome in found] == [True] * most + [False] * (11 - most)


def test_a_share_is_told_with_its_numbers_and_its_setting() -> None:
    *_, refused = outcomes(p.MailLimits(mailbox_messages=10), [deliver("bob")] * 6)
    assert refused == p.Full(
        "bob holds 5 messages in it and 5 are free (messages.mailbox_messages); one sender may hold half of what the"
        " others leave",
        share=True,
    )


def test_a_sender_has_one_share_of_all_mailboxes_of_an_owner() -> None:
    found = outcomes(p.MailLimits(principal_messages=4), [deliver("bob"), deliver("bob", OTHER), deliver("bob", OTHER)])
    assert [isinstance(outcome, p.Full) for outcome in found] == [False, False, True]
    assert "principal_messages" in str(found[2])


def test_shares_are_what_the_messages_say_when_a_store_is_opened_again(tmp_path: Path) -> None:
    limits = p.MailLimits(mailbox_messages=4)
    for expected in (p.Delivered(1), p.Delivered(2), p.Full):
        store = MailDatabase(tmp_path / "mail.db", limits)
        store.recover()
        (outcome,) = store.perform((deliver("bob"),), 0.0).result(60).outcomes
        assert outcome == expected or isinstance(outcome, p.Full)
        store.close()
    assert isinstance(outcome, p.Full)


def test_what_failed_with_its_batch_is_in_no_share(tmp_path: Path) -> None:
    store = MailDatabase(tmp_path / "mail.db", p.MailLimits(mailbox_messages=4))
    store.recover()
    wrong = p.Deliver(MAILBOX, OWNER, p.Draft(b"x", "bob", tag="\udc80"))
    assert store.perform((deliver("bob"), wrong), 0.0).exception(60) is not None
    found = store.perform((deliver("bob"), deliver("bob"), deliver("bob")), 0.0).result(60).outcomes
    assert [isinstance(outcome, p.Delivered) for outcome in found] == [True, True, False]
    store.close()
