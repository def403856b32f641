"""Calls on open files: their order, their streams, their end; with real files, in a loop of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from llmos.drivers.files.store import HostFiles
from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.calls.descriptors import Descriptor, Descriptors, OpenBounds
from llmos.kernel.gate.calls.file_stream import CHUNK
from llmos.kernel.gate.calls.lanes import Lanes, Leave
from llmos.kernel.gate.calls.open_files import MOST_UNWRITTEN, OpenFiles
from llmos.kernel.gate.channel import Bond, Channel, Ending
from llmos.kernel.ports.files import FilePath
from llmos.kernel.security.membrane import Membrane
from llmos.syscalls.abi import files as f
from llmos.syscalls.abi.errors import Error, InvalidArgument, LimitExceeded, NotFound, TryAgain
from llmos.syscalls.abi.words import Pid, Record
from tests.unit.outlet import Outlet
from tests.unit.test_authority import everything

ALICE, BOB = Principal("alice", "developer"), Principal("bob", "developer")


class Scene:
    """A table of open files over real ones."""

    def __init__(self, root: Path, bounds: OpenBounds | None = None) -> None:
        self.store = HostFiles(root)
        self.lanes = Lanes(asyncio.get_running_loop(), 2, "files")
        self.calls = OpenFiles(Descriptors(bounds or OpenBounds()), self.lanes)
        self.membrane: Membrane = everything()

    def open(self, name: str, mode: str, pid: Pid | None = None) -> Descriptor:
        self.calls.table.reserve(ALICE, pid)
        opened = self.store.open(FilePath("alice", (name,)), f.OpenMode(mode))
        return self.calls.table.add(opened.file, ALICE, pid)

    def put(self, name: str, data: bytes) -> None:
        file = self.store.open(FilePath("alice", (name,)), f.OpenMode.WRITE).file
        file.write(data)
        file.close(discard=False)

    def call(self, request: Record, who: Principal = ALICE, credit: int = 0) -> tuple[Outlet, Channel]:
        outlet = Outlet()
        channel = Channel(outlet, credit)
        match request:
            case f.FileRead():
                self.calls.read(self.membrane.authorize(who, "x", "fs.read"), request, channel)
            case f.FileWrite():
                self.calls.write(self.membrane.authorize(who, "x", "fs.write"), request, channel)
            case f.FileSeek():
                self.calls.seek(self.membrane.authorize(who, "x", "fs.seek"), request, channel)
            case f.FileClose():
                self.calls.close(self.membrane.authorize(who, "x", "fs.close"), request, channel)
            case _:
                raise AssertionError(request)
        return outlet, channel

    async def answer(self, request: Record) -> Record | Error:
        return await self.call(request)[0].answer

    def end(self) -> None:
        self.lanes.close()
        for descriptor in self.calls.table.all():
            descriptor.file.close(discard=True)
        self.store.close()


def play(root: Path, part: Callable[[Scene], Awaitable[None]], bounds: OpenBounds | None = None) -> None:
    """Run a part of a test in a loop; a bug in a callback fails it."""
    bugs: list[object] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context))
        scene = Scene(root, bounds)
        try:
            await asyncio.wait_for(part(scene), 60)
        finally:
            scene.end()

    asyncio.run(run())
    assert bugs == []


def test_calls_on_one_descriptor_are_done_in_their_order(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        fd = scene.open("a", "w").number
        outlets = [scene.call(f.FileWrite(fd, b"%d," % number))[0] for number in range(300)]
        closed = scene.call(f.FileClose(fd))[0]
        with pytest.raises(NotFound):
            scene.call(f.FileWrite(fd, b"late"))
        stat = await closed.answer
        assert isinstance(stat, f.FileStat)
        assert all(outlet.answer.done() for outlet in outlets)
        reading = await scene.answer(f.FileRead(scene.open("a", "r").number))
        assert reading == f.FileData(b"".join(b"%d," % number for number in range(300)))

    play(tmp_path, part)


def test_a_stream_sends_as_much_as_its_credit_and_no_more(tmp_path: Path) -> None:
    data = bytes(range(256)) * (CHUNK // 256) * 9 + b"end"

    async def part(scene: Scene) -> None:
        scene.put("a", data)
        fd = scene.open("a", "r").number
        outlet, channel = scene.call(f.FileRead(fd, 1 << 40, window=3), credit=3)
        behind = scene.call(f.FileSeek(fd, 0, f.Whence.CURRENT))[0]
        granted = 3
        while not outlet.answer.done():
            assert len(outlet.events) <= granted
            assert not behind.answer.done()
            if len(outlet.events) == granted and granted < 10:
                channel.grant(1)
                granted += 1
            await asyncio.sleep(0)
        assert await outlet.answer == f.FileData(b"")
        assert b"".join(one.data for one in outlet.events if isinstance(one, f.FileData)) == data
        assert await behind.answer == f.FilePosition(len(data))

    play(tmp_path, part)


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.GONE, Ending.TIMED_OUT])
def test_a_stream_that_ends_lets_the_next_call_go_on(tmp_path: Path, ending: Ending) -> None:
    async def part(scene: Scene) -> None:
        scene.put("a", bytes(20 * CHUNK))
        fd = scene.open("a", "r").number
        outlet, channel = scene.call(f.FileRead(fd, 1 << 40, window=2), credit=2)
        while len(outlet.events) < 2:
            await asyncio.sleep(0)
        channel.end(ending)
        assert await scene.answer(f.FileSeek(fd, 0, f.Whence.CURRENT)) == f.FilePosition(2 * CHUNK)

    play(tmp_path, part)


def test_closing_ends_a_stream_that_nobody_reads(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        scene.put("a", bytes(20 * CHUNK))
        descriptor = scene.open("a", "r", Pid(7))
        outlet, _ = scene.call(f.FileRead(descriptor.number, 1 << 40, window=1), credit=1)
        while not outlet.events:
            await asyncio.sleep(0)
        scene.calls.process_exited(Pid(7))
        assert isinstance(await outlet.answer, NotFound)
        assert scene.calls.table.all() == []

    play(tmp_path, part)


def test_after_a_write_that_failed_nothing_is_written_and_close_says_so(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        scene.put("a", b"old")
        scene.store.bounds = scene.store.home("alice").bounds = type(scene.store.bounds)(quota=10)
        fd = scene.open("a", "w").number
        answers = [scene.call(f.FileWrite(fd, data))[0].answer for data in (b"12", bytes(100), b"34")]
        closed = await scene.answer(f.FileClose(fd))
        assert [type(await one) for one in answers] == [f.FilePosition, LimitExceeded, LimitExceeded]
        assert isinstance(closed, LimitExceeded)
        assert await scene.answer(f.FileRead(scene.open("a", "r").number)) == f.FileData(b"old")

    play(tmp_path, part)


def test_more_than_may_wait_to_be_written_is_refused(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        fd = scene.open("a", "w").number
        data = bytes(1 << 20)
        outlets = [scene.call(f.FileWrite(fd, data))[0] for _ in range(MOST_UNWRITTEN >> 20)]
        with pytest.raises(TryAgain, match="wait to be written"):
            scene.call(f.FileWrite(fd, data))
        assert isinstance(await outlets[0].answer, f.FilePosition)
        # What was refused would be a gap.
        assert isinstance(await outlets[-1].answer, TryAgain)
        assert isinstance(await scene.answer(f.FileClose(fd, discard=True)), f.FileStat)

    play(tmp_path, part)


def test_only_who_opened_a_file_may_use_it(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        fd = scene.open("a", "w").number
        for request in (f.FileRead(fd), f.FileWrite(fd, b""), f.FileSeek(fd, 0), f.FileClose(fd)):
            for who, number in ((BOB, fd), (Principal("alice", "developer", "other"), fd)):
                with pytest.raises(NotFound, match=f"no file open under {number}"):
                    scene.call(request, who)
        assert scene.calls.table.path_of(fd) == FilePath("alice", ("a",))
        assert isinstance(await scene.answer(f.FileRead(fd)), InvalidArgument)

    play(tmp_path, part)


def test_limits_of_open_files_are_named_and_numbers_are_given_once(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        first = scene.open("a", "w", Pid(7))
        with pytest.raises(LimitExceeded, match=r"process 7 has 1 .*files\.process_open_files"):
            scene.open("b", "w", Pid(7))
        second = scene.open("b", "w")
        with pytest.raises(LimitExceeded, match=r"alice has 2 .*files\.open_files"):
            scene.open("c", "w")
        await scene.answer(f.FileClose(second.number))
        third = scene.open("c", "w")
        assert (first.number, second.number, third.number) == (1, 2, 3)
        assert scene.calls.table.path_of(2) is None

    play(tmp_path, part, OpenBounds(open_files=2, process_open_files=1))


def test_lanes_keep_order_hold_up_nobody_else_and_do_not_nest(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        seen: list[int] = []
        held: list[Leave] = []
        scene.lanes.enter("a", held.append)
        for number in range(5000):

            def turn(leave: Leave, number: int = number) -> None:
                seen.append(number)
                leave()

            scene.lanes.enter("a", turn)
        done = asyncio.get_running_loop().create_future()
        scene.lanes.perform("b", lambda: 1, done.set_result, done.set_exception)
        assert await done == 1
        assert seen == []
        held[0]()
        while len(seen) < 5000:
            await asyncio.sleep(0)
        assert seen == list(range(5000))

    play(tmp_path, part)


def test_what_is_tied_to_a_connection_ends_once_with_it() -> None:
    bond, ended = Bond(), list[str]()
    bond.add(lambda: ended.append("first"))
    forget = bond.add(lambda: ended.append("taken back"))
    forget()
    bond.end()
    bond.end()
    bond.add(lambda: ended.append("late"))
    assert ended == ["first", "late"]
