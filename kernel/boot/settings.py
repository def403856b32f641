"""The settings of the daemon: TOML file, then `--set SECTION.KEY=VALUE`, then defaults.

It does not know what the settings do. Rules: a key that nobody knows and a value that cannot be are errors
that name the file, the line and what is allowed; nothing is guessed, nothing is ignored.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import msgspec

from llmos.kernel.boot.values import (
    BadValueError,
    Kind,
    Value,
    choice,
    integer,
    number,
    page_length,
    seconds,
    size,
    text,
    texts,
)
from llmos.syscalls.abi.errors import InvalidArgument

DEFAULT_MODEL = "smollm2:135m"
DEFAULT_ENCODER = "minilm:l6-v2"


@dataclass(frozen=True, slots=True)
class EngineSection:
    """`[engine]`; None and `auto` leave it to the engine. Sizes in bytes; pages go before `device_memory`.

    `encoder` makes the vectors of `embed` and `classify`; empty for none.
    """

    model: str = DEFAULT_MODEL
    encoder: str = DEFAULT_ENCODER
    device: str = "auto"
    dtype: str = "auto"
    weights: str = "auto"
    page_tokens: int | None = None
    device_pages: int | None = None
    device_memory: int | None = None
    host_memory: int = 1 << 30
    disk_memory: int | None = None
    step_tokens: int | None = None
    max_batch: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class SchedulerSection:
    """`[scheduler]`. For each `aging_seconds` of waiting a process counts as one class higher."""

    policy: str = "fair"
    aging_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class WireSection:
    """`[wire]`: endpoints beside the socket in the home directory."""

    listen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecuritySection:
    """`[security]`: a file or folder in place of the policy, a Casbin model in place of the one that llmos comes with,
    and what one key may take.
    """

    policy: str | None = None
    model: str | None = None
    calls_per_second: float = 50_000.0
    connections_per_key: int = 256
    page_share: float = 0.9
    processes_per_principal: int = 4096


@dataclass(frozen=True, slots=True)
class MessagesSection:
    """`[messages]`: how much is kept of a mailbox, of all mailboxes of one principal, and for how long.

    A message that was given out `deliveries` times, or that waits for `keep_days`, becomes a dead letter. Ids of
    messages that are gone are known for `remember_hours`. `stream_messages` may wait for the reader of a topic.
    """

    mailbox_messages: int = 10_000
    mailbox_bytes: int = 64 << 20
    principal_messages: int = 50_000
    principal_bytes: int = 256 << 20
    dead_letters: int = 1_000
    dead_bytes: int = 32 << 20
    deliveries: int = 16
    keep_days: float = 30.0
    remember_hours: float = 24.0
    remembered_ids: int = 100_000
    stream_messages: int = 256


@dataclass(frozen=True, slots=True)
class ToolsSection:
    """`[tools]`: how many tools one principal may offer, how many calls it may have open, and bytes of a result."""

    tools_per_principal: int = 256
    calls_per_principal: int = 256
    result_size: int = 1 << 20


@dataclass(frozen=True, slots=True)
class MemorySection:
    """`[memory]`: what each owner may have in long-term memory, and how much memory the vector indexes may take."""

    items_per_owner: int = 1_000_000
    bytes_per_owner: int = 4 << 30
    index_memory: int = 1 << 30


@dataclass(frozen=True, slots=True)
class SandboxSection:
    """`[sandbox]`: the engine's runtime, the image to build on (empty: `python:X.Y-slim` of this Python), and how many
    containers of each app wait for a run.
    """

    runtime: str = "auto"
    base: str = ""
    warm: int = 1


@dataclass(frozen=True, slots=True)
class FilesSection:
    """`[files]`: older contents that are kept of a file; bytes (those too), and files and directories, of one owner;
    what one principal and one process may have open, and how many changes a principal may watch.
    """

    versions: int = 8
    quota: int = 1 << 30
    files: int = 100_000
    open_files: int = 256
    process_open_files: int = 64
    watches: int = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections."""

    engine: EngineSection = EngineSection()
    scheduler: SchedulerSection = SchedulerSection()
    wire: WireSection = WireSection()
    security: SecuritySection = SecuritySection()
    messages: MessagesSection = MessagesSection()
    tools: ToolsSection = ToolsSection()
    memory: MemorySection = MemorySection()
    sandbox: SandboxSection = SandboxSection()
    files: FilesSection = FilesSection()


KINDS: Mapping[str, Mapping[str, Kind]] = {
    "engine": {
        "model": text("the reference of a model, such as smollm2:135m, or a path"),
        "encoder": text("the reference of an encoder, such as minilm:l6-v2, a path, or nothing for none", empty=True),
        "device": choice("auto", "cpu", "cuda"),
        "dtype": choice("auto", "float32", "bfloat16", "float16"),
        "weights": choice("auto", "exact", "fp16", "int8"),
        "page_tokens": page_length(),
        "device_pages": integer(2, 1 << 24),
        "device_memory": size(),
        "host_memory": size(),
        "disk_memory": size(),
        "step_tokens": integer(1, 1 << 17),
        "max_batch": integer(1, 1 << 14),
        "threads": integer(1, 1024),
    },
    "scheduler": {
        "policy": choice("fcfs", "priority", "fair", "mlfq", "edf"),
        "aging_seconds": seconds(),
    },
    "wire": {"listen": texts('a list of endpoints, such as ["tcp://127.0.0.1:7777"]')},
    "security": {
        "policy": text("the path of a policy file, or of a folder of them"),
        "model": text("the path of a Casbin model file"),
        "calls_per_second": number(1, 1_000_000),
        "connections_per_key": integer(1, 65_536),
        "page_share": number(0.01, 1),
        "processes_per_principal": integer(1, 1 << 17),
    },
    "messages": {
        "mailbox_messages": integer(1, 1 << 20),
        "mailbox_bytes": size(),
        "principal_messages": integer(1, 1 << 24),
        "principal_bytes": size(),
        "dead_letters": integer(1, 1 << 20),
        "dead_bytes": size(),
        "deliveries": integer(1, 1 << 20),
        "keep_days": number(0.001, 36_500),
        "remember_hours": number(0.001, 876_000),
        "remembered_ids": integer(1, 1 << 24),
        "stream_messages": integer(1, 1 << 16),
    },
    "tools": {
        "tools_per_principal": integer(1, 4096),
        "calls_per_principal": integer(1, 1 << 16),
        "result_size": integer(1, 1 << 20),
    },
    "memory": {
        "items_per_owner": integer(1, 1 << 32),
        "bytes_per_owner": size(),
        "index_memory": size(),
    },
    "sandbox": {
        "runtime": choice("auto", "runc", "runsc"),
        "base": text("the name of an image that has this Python", empty=True),
        "warm": integer(0, 64),
    },
    "files": {
        "versions": integer(0, 1000),
        "quota": size(),
        "files": integer(1, 1 << 24),
        "open_files": integer(1, 1 << 14),
        "process_open_files": integer(1, 1 << 14),
        "watches": integer(1, 1024),
    },
}


@dataclass(frozen=True, slots=True)
class _Given:
    """A value that somebody gave, and where; `words` is its own text when it came from the command line."""

    section: str
    key: str
    value: object
    where: str
    words: str | None = None


def load_settings(file: Path | None, overlays: Iterable[str] = ()) -> Settings:
    """Read the settings; `file` None is an empty one. Raises `InvalidArgument`."""
    values: dict[str, dict[str, Value]] = {}
    for given in (*(_from_file(file) if file is not None else ()), *map(_from_overlay, overlays)):
        values.setdefault(given.section, {})[given.key] = _value(given)
    return msgspec.convert(values, Settings)


def _value(given: _Given) -> Value:
    kind = KINDS[given.section].get(given.key)
    if kind is None:
        raise _unknown(given.where, f"{given.section}.{given.key}", _all_names())
    # The second: `--set engine.model=7` means the text, although it reads as a number.
    for candidate in (given.value, given.words):
        with suppress(BadValueError):
            return kind.read(candidate)
    shown = given.value if given.words is None else given.words
    raise InvalidArgument(f"{given.where}: {given.section}.{given.key} cannot be {shown!r}", f"allowed: {kind.allowed}")


def _from_file(path: Path) -> list[_Given]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}", "--config names the settings file") from None
    try:
        tables = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path}: {error}", "settings are TOML") from None
    given = []
    for section, table in tables.items():
        if section not in KINDS or not isinstance(table, dict):
            raise _unknown(_place(path, content, section, None), section, list(KINDS))
        given += [_Given(section, key, value, _place(path, content, section, key)) for key, value in table.items()]
    return given


def _from_overlay(overlay: str) -> _Given:
    name, equals, words = overlay.partition("=")
    section, dot, key = name.strip().partition(".")
    where = f"--set {overlay}"
    if not equals or not dot:
        raise InvalidArgument(f"{where}: not of the form SECTION.KEY=VALUE", "--set scheduler.policy=fair")
    if section not in KINDS:
        raise _unknown(where, f"{section}.{key}", _all_names())
    return _Given(section, key, _toml_value(words), where, words.strip())


def _toml_value(words: str) -> object:
    try:
        return tomllib.loads(f"value = {words}")["value"]
    except tomllib.TOMLDecodeError:
        return words.strip()


def _place(path: Path, content: str, section: str, key: str | None) -> str:
    """File and line of a key; the TOML reader does not tell, so the text is searched."""
    current = ""
    for place, line in enumerate(content.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            current = header[1]
        assigned = re.match(r"\s*([\w.\-\"' ]+?)\s*=", line)
        names = [current, *re.sub(r"[\"' ]", "", assigned[1]).split(".")] if assigned else [current]
        path_of_names = ".".join(name for name in names if name)
        wanted = section if key is None else f"{section}.{key}"
        if path_of_names == wanted or (key is None and path_of_names.startswith(f"{section}.")):
            return f"{path}:{place}"
    return str(path)


def _unknown(where: str, name: str, names: list[str]) -> InvalidArgument:
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "allowed: " + ", ".join(names)
    return InvalidArgument(f"{where}: no setting is named {name}", hint)


def _all_names() -> list[str]:
    return [f"{section}.{key}" for section, kinds in KINDS.items() for key in kinds]
