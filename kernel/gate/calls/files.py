"""The calls about names of files: open, stat, list, mkdir, rename, unlink, versions, restore.

It does not know disks. Rules: whoever opens a file for more than reading may also write it, and whoever opens it for a
process may act in that process's name; everything is done beside the loop, for each home in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.descriptors import Descriptors
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.calls.open_files import OpenFiles
from llmos.kernel.gate.channel import Channel
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.files import FilePath, FileSystem, Opened, VersionStore
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import file_path
from llmos.kernel.security.objects import file_target
from llmos.syscalls.abi import files as f
from llmos.syscalls.abi.errors import Error, InvalidArgument, NoSuchProcess
from llmos.syscalls.abi.messages import Done
from llmos.syscalls.abi.words import Pid

Result = TypeVar("Result")


class FileCalls:
    """One method per call."""

    def __init__(
        self,
        shell: Shell,
        membrane: Membrane,
        system: FileSystem,
        versions: VersionStore,
        lanes: Lanes,
        open_files: OpenFiles,
    ) -> None:
        self._shell = shell
        self._membrane = membrane
        self._system = system
        self._versions = versions
        self._lanes = lanes
        self._open_files = open_files
        self._table: Descriptors = open_files.table

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("fs.open", f.FileOpen, self.open),
                row("fs.stat", f.OnPath, self.stat),
                row("fs.list", f.FileList, self.list),
                row("fs.mkdir", f.FileMakeDirectory, self.make_directory),
                row("fs.rename", f.FileRename, self.rename),
                row("fs.unlink", f.FileUnlink, self.unlink),
                row("fs.versions", f.OnPath, self.versions),
                row("fs.restore", f.FileRestore, self.restore),
            )
        )

    def open(self, by: Authorized, request: f.FileOpen, channel: Channel) -> None:
        path, who = _path(by, request.path), by.principal
        pid = Pid(request.pid) if request.pid is not None else None
        if request.mode is not f.OpenMode.READ:
            self._membrane.authorize_target(who, file_target(path, who, self._membrane.holders), "fs.write")
        if pid is not None:
            self._membrane.authorize_process(who, pid, "ctx.append")
            self._shell.kernel.table.living(pid)
        self._table.reserve(who, pid)

        def failed(error: Error) -> None:
            self._table.release(who, pid)
            channel.fail(error)

        def then(opened: Opened) -> None:
            descriptor = self._table.add(opened.file, who, pid)
            if channel.over or (pid is not None and not self._lives(pid)):
                self._open_files.drop(descriptor)
                if pid is not None:
                    channel.fail(NoSuchProcess(f"process {pid} has exited", "open the file for another"))
                return
            if pid is None:
                descriptor.forget = channel.bond.add(lambda: self._open_files.drop(descriptor))
            channel.reply(f.FileOpened(descriptor.number, opened.stat))

        self._lanes.perform(path.owner, lambda: self._system.open(path, request.mode), then, failed)

    def stat(self, by: Authorized, request: f.OnPath, channel: Channel) -> None:
        path = _path(by, request.path)
        self._perform(path, lambda: self._system.stat(path), channel.reply, channel)

    def list(self, by: Authorized, request: f.FileList, channel: Channel) -> None:
        path = _path(by, request.path)
        self._perform(path, lambda: self._system.list(path, request.limit, request.after), channel.reply, channel)

    def make_directory(self, by: Authorized, request: f.FileMakeDirectory, channel: Channel) -> None:
        path = _path(by, request.path)
        self._perform(path, lambda: self._system.make_directory(path, request.parents), channel.reply, channel)

    def rename(self, by: Authorized, request: f.FileRename, channel: Channel) -> None:
        path, who = _path(by, request.path), by.principal
        target = file_path(request.target, who.name)
        self._membrane.authorize_target(who, file_target(target, who, self._membrane.holders), "fs.rename")
        if target.owner != path.owner:
            raise InvalidArgument(f"{path} cannot move into the home of {target.owner}", "copy it, then unlink it")
        self._perform(path, lambda: self._system.rename(path, target, request.replace), channel.reply, channel)

    def unlink(self, by: Authorized, request: f.FileUnlink, channel: Channel) -> None:
        path = _path(by, request.path)

        def work() -> Done:
            self._system.unlink(path, request.recursive)
            return Done()

        self._perform(path, work, channel.reply, channel)

    def versions(self, by: Authorized, request: f.OnPath, channel: Channel) -> None:
        path = _path(by, request.path)
        work = lambda: f.KeptVersions(tuple(self._versions.versions(path)))  # noqa: E731 (one line, used once)
        self._perform(path, work, channel.reply, channel)

    def restore(self, by: Authorized, request: f.FileRestore, channel: Channel) -> None:
        path = _path(by, request.path)
        self._perform(path, lambda: self._versions.restore(path, request.version), channel.reply, channel)

    def _perform(
        self, path: FilePath, work: Callable[[], Result], then: Callable[[Result], None], channel: Channel
    ) -> None:
        self._lanes.perform(path.owner, work, then, channel.fail)

    def _lives(self, pid: Pid) -> bool:
        process = self._shell.kernel.table.find(pid)
        return process is not None and process.alive


def _path(by: Authorized, text: str) -> FilePath:
    return file_path(text, by.principal.name)
