"""The mail room with a real store: batches, who is woken by what, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llmos.drivers.store.mail import MailDatabase
from llmos.kernel.gate.mail.room import MailRoom
from llmos.kernel.ports import mail as p
from llmos.syscalls.abi.errors import DeviceError, Error, TryAgain
from llmos.syscalls.abi.words import Pid

ALICE, MAILBOX, OTHER = p.MailOwner("alice", "default"), Pid(7), Pid(8)
PATIENCE = 20.0


@dataclass(slots=True, eq=False)
class Reader:
    """Collects what it gets (`Reader` of receivers); `here` False is one who has left."""

    got: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    here: bool = True

    def taken(self, messages: tuple[p.StoredMail, ...]) -> bool:
        if self.here:
            self.got.put_nowait(" ".join(mail.body.decode() for mail in messages))
        return self.here

    def waits(self) -> None:
        self.got.put_nowait("waits")

    def failed(self, error: Error) -> None:
        self.got.put_nowait(type(error).__name__)


@dataclass(slots=True, eq=False)
class Writer:
    """Collects what becomes of a message (`Writer` of senders)."""

    patient: bool = False
    got: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def sent(self, delivered: p.Delivered) -> None:
        self.got.put_nowait(f"sent {delivered.number}")

    def full(self, limit: str) -> bool:
        self.got.put_nowait("full")
        return self.patient

    def failed(self, error: DeviceError) -> None:
        self.got.put_nowait("failed")


def in_room(path: Path, story: Callable[[MailRoom], Awaitable[None]], limits: p.MailLimits | None = None) -> None:
    """Tell a story in a room of its own."""

    async def live() -> None:
        now = iter(range(1000, 10_000_000))
        store = MailDatabase(path / "mail.db", limits or p.MailLimits())
        room = MailRoom(asyncio.get_running_loop(), store, lambda: float(next(now)))
        try:
            await asyncio.wait_for(story(room), PATIENCE)
        finally:
            room.close()

    asyncio.run(live())


def receive(room: MailRoom, pid: Pid | None = MAILBOX, tag: str | None = None, lease: float = 1e6) -> Reader:
    """One who takes a message."""
    reader = Reader()
    room.receivers.receive(p.Take(p.Scope(ALICE, pid), 1, lease, p.Wanted(tag=tag)), reader)
    return reader


def send(
    room: MailRoom, body: str, tag: str | None = None, patient: bool = False, pid: Pid = MAILBOX, who: str = "bob"
) -> Writer:
    """One who sends a message."""
    writer = Writer(patient)
    room.senders.send(p.Deliver(pid, ALICE, p.Draft(body.encode(), who, tag=tag), patient), writer)
    return writer


def test_who_waits_gets_the_message_that_comes(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        first, second, choosy = receive(room), receive(room, pid=None), receive(room, tag="t")
        for reader in (first, second, choosy):
            assert await reader.got.get() == "waits"
        send(room, "tagged", tag="other")
        assert await first.got.get() == "tagged"
        send(room, "2", tag="t")
        assert await second.got.get() == "2"
        send(room, "3", tag="t")
        assert await choosy.got.get() == "3"
        assert len(room.receivers) == 0

    in_room(tmp_path, story)


def test_what_is_handed_in_together_is_one_batch(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        writers = [send(room, str(number)) for number in range(50)]
        reader = receive(room)
        assert [await writer.got.get() for writer in writers] == [f"sent {number}" for number in range(1, 51)]
        assert reader.got.get_nowait() == "0"

    in_room(tmp_path, story)


def test_a_message_for_one_who_has_left_goes_to_the_next(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        gone, stays = receive(room), receive(room)
        assert [await gone.got.get(), await stays.got.get()] == ["waits", "waits"]
        gone.here = False
        send(room, "x")
        assert await stays.got.get() == "x"

    in_room(tmp_path, story)


def test_a_lease_that_ends_wakes_who_waits(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        send(room, "x")
        short = receive(room, lease=3.0)
        assert await short.got.get() == "x"
        waits = receive(room)
        heard = [await waits.got.get()]
        if heard == ["waits"]:
            heard.append(await waits.got.get())
        assert heard[-1] == "x"

    in_room(tmp_path, story)


def test_senders_get_into_a_full_mailbox_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        assert await send(room, "0").got.get() == "sent 1"
        waiting = [send(room, str(number), patient=True) for number in (1, 2, 3)]
        for writer in waiting:
            assert await writer.got.get() == "full"
        late = send(room, "late")
        assert await late.got.get() == "full"
        for number in range(4):
            reader = receive(room)
            while (heard := await reader.got.get()) == "waits":
                pass
            assert heard == str(number)
            room.perform(p.Settle(p.Scope(ALICE), (number + 1,)), lambda outcome: None)
        assert len(room.senders) == 0

    in_room(tmp_path, story, p.MailLimits(mailbox_messages=1))


def test_room_in_one_mailbox_wakes_those_who_wait_for_that_one(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        for pid in (MAILBOX, OTHER):
            await send(room, "x", pid=pid).got.get()
        here, there = send(room, "y", patient=True), send(room, "y", patient=True, pid=OTHER)
        assert [await here.got.get(), await there.got.get()] == ["full", "full"]
        room.perform(p.Settle(p.Scope(ALICE), (2,)), lambda outcome: None)
        assert await there.got.get() == "sent 3"

    in_room(tmp_path, story, p.MailLimits(mailbox_messages=1))


def test_who_waits_for_room_in_its_own_share_is_in_nobody_elses_way(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        for number in (1, 2):
            assert await send(room, f"bob {number}").got.get() == f"sent {number}"
        waits = send(room, "bob 3", patient=True)
        behind = send(room, "bob 4", patient=True)
        assert [await waits.got.get(), await behind.got.get()] == ["full", "full"]
        assert await send(room, "carol", who="carol").got.get() == "sent 3"
        assert await send(room, "bob 5").got.get() == "full"
        # The last place is for one who holds nothing.
        assert await send(room, "carol", who="carol").got.get() == "full"
        assert await send(room, "dave", who="dave").got.get() == "sent 4"
        eve = send(room, "eve", patient=True, who="eve")
        assert await eve.got.get() == "full"
        room.perform(p.Settle(p.Scope(ALICE), (4,)), lambda outcome: None)
        assert await eve.got.get() == "sent 5"
        for number in (1, 2, 3, 5):
            room.perform(p.Settle(p.Scope(ALICE), (number,)), lambda outcome: None)
        assert [await last_heard(waits), await last_heard(behind)] == ["sent 6", "sent 7"]
        assert len(room.senders) == 0

    in_room(tmp_path, story, p.MailLimits(mailbox_messages=4))


async def last_heard(writer: Writer) -> str:
    """What a writer hears that waits while it finds no room."""
    while (heard := await writer.got.get()) == "full":
        pass
    return heard


def test_those_who_wait_for_room_get_it_in_their_order_whoever_they_are(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        assert await send(room, "0", who="alice").got.get() == "sent 1"
        waiting = [send(room, who, patient=True, who=who) for who in ("bob", "carol", "dave")]
        for writer in waiting:
            assert await writer.got.get() == "full"
        assert await send(room, "late", who="eve").got.get() == "full"
        for number, writer in enumerate(waiting, 1):
            room.perform(p.Settle(p.Scope(ALICE), (number,)), lambda outcome: None)
            assert await last_heard(writer) == f"sent {number + 1}"

    in_room(tmp_path, story, p.MailLimits(mailbox_messages=1))


def test_what_one_principal_has_under_way_is_bounded(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        writers = [send(room, "x" * (1 << 20)) for _ in range(32)]
        with pytest.raises(TryAgain, match="not written yet"):
            send(room, "x")
        for writer in writers:
            await writer.got.get()
        assert await send(room, "x").got.get() == "sent 33"

    in_room(tmp_path, story, p.MailLimits(mailbox_bytes=1 << 30, principal_bytes=1 << 30))


def test_a_process_that_exits_ends_the_waits_in_its_name(tmp_path: Path) -> None:
    async def story(room: MailRoom) -> None:
        named, unnamed = receive(room), receive(room, pid=None)
        assert [await named.got.get(), await unnamed.got.get()] == ["waits", "waits"]
        room.process_exited(MAILBOX)
        assert await named.got.get() == "NoSuchProcess"
        send(room, "x")
        assert await unnamed.got.get() == "x"

    in_room(tmp_path, story)
