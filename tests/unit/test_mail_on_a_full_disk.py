"""A disk that takes nothing more under those who send and receive: what failed is told, and nobody waits for ever.

The kernel limits how long a file of this process may be; writing beyond that fails as it does on a full disk.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmos.drivers.store.mail import MailDatabase
from llmos.kernel.gate.mail.room import MailRoom
from llmos.kernel.ports import mail as p
from tests.unit.test_mail_room import ALICE, OTHER, in_room, receive, send

LARGE = "x" * (8 << 20)
"""More than the database keeps in memory before it writes."""


@contextmanager
def full_disk() -> Iterator[None]:
    """What is larger than 4 MiB cannot be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_the_disk_does_not_take_fails_and_all_else_is_there_again(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        with full_disk():
            fits, too_large = send(room, "fits"), send(room, LARGE)
            heard = [await writer.got.get() for writer in (fits, too_large)]
            assert heard == ["failed", "failed"], "they were in one batch"
            assert await send(room, "small").got.get() == "sent 1"
            assert await send(room, LARGE).got.get() == "failed"
        assert await send(room, "later").got.get() == "sent 2"

    in_room(tmp_path, story)
    store = MailDatabase(tmp_path / "mail.db", p.MailLimits())
    assert store.recover().tally == p.Tally(messages=2, bytes=10)
    taken = store.perform((p.Take(p.Scope(ALICE), 9, 1.0),), 0.0).result(10).outcomes[0]
    assert isinstance(taken, p.Taken)
    assert [mail.body for mail in taken.messages] == [b"small", b"later"]
    store.close()


def test_when_who_waits_first_for_room_cannot_be_written_the_next_one_is(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        assert await send(room, "0").got.get() == "sent 1"
        large, small = send(room, LARGE, patient=True), send(room, "1", patient=True)
        assert [await large.got.get(), await small.got.get()] == ["full", "full"]
        with full_disk():
            room.perform(p.Settle(p.Scope(ALICE), (1,)), lambda outcome: None)
            assert await large.got.get() == "failed"
            assert await small.got.get() == "sent 2"
        assert len(room.senders) == 0

    in_room(tmp_path, story, p.MailLimits(mailbox_messages=1))


def test_when_a_batch_fails_with_one_who_would_take_a_message_another_takes_it(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        first, second = receive(room), receive(room, tag="t")
        assert [await first.got.get(), await second.got.get()] == ["waits", "waits"]
        with full_disk():
            lost = send(room, LARGE, tag="t")
            assert await lost.got.get() == "failed"
            assert await first.got.get() == "DeviceError"
            assert await second.got.get() == "waits", "it has looked"
            send(room, "small", tag="t")
            assert await second.got.get() == "small"

    in_room(tmp_path, story)


def test_a_waiting_receiver_finds_what_came_back_in_a_batch_that_failed(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        assert await send(room, "x").got.get() == "sent 1"
        assert await receive(room, lease=5.0).got.get() == "x"
        waits = receive(room)
        assert await waits.got.get() == "waits"
        with full_disk():
            heard = "waits"
            while heard == "waits":
                # A second of the clock here is a batch: after some, the lease ends in one that fails.
                assert await send(room, LARGE, pid=OTHER).got.get() == "failed"
                heard = await waits.got.get()
            assert heard == "x"

    in_room(tmp_path, story)
