"""Settings: what may be said, and what an error says."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from llmos.kernel.boot.settings import KINDS, Settings, load_settings
from llmos.syscalls.abi.errors import InvalidArgument


def test_nothing_said_is_the_defaults() -> None:
    settings = load_settings(None)
    assert settings == Settings()
    assert settings.scheduler.policy == "fair"
    assert settings.engine.model == "smollm2:135m"


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "llmos.toml"
    file.write_text('[engine]\nhost_memory = "2GiB"\nthreads = 2\n[wire]\nlisten = ["tcp://127.0.0.1:7"]\n')
    settings = load_settings(file, ["engine.threads=1", "scheduler.policy=edf", "engine.device_memory=512 MiB"])
    assert settings.engine.host_memory == 2 << 30
    assert settings.engine.threads == 1
    assert settings.engine.device_memory == 512 << 20
    assert settings.scheduler.policy == "edf"
    assert settings.wire.listen == ("tcp://127.0.0.1:7",)


def test_text_on_the_command_line_may_look_like_a_number() -> None:
    assert load_settings(None, ["engine.model=7"]).engine.model == "7"
    assert load_settings(None, ["engine.model=/models/x=y"]).engine.model == "/models/x=y"
    assert load_settings(None, ['wire.listen=["tcp://*:1"]']).wire.listen == ("tcp://*:1",)


def test_every_field_has_a_kind_and_every_kind_a_field() -> None:
    settings = Settings()
    for section, names in (
        ("engine", {field.name for field in fields(settings.engine)}),
        ("scheduler", {field.name for field in fields(settings.scheduler)}),
        ("wire", {field.name for field in fields(settings.wire)}),
        ("security", {field.name for field in fields(settings.security)}),
        ("messages", {field.name for field in fields(settings.messages)}),
        ("tools", {field.name for field in fields(settings.tools)}),
        ("memory", {field.name for field in fields(settings.memory)}),
        ("sandbox", {field.name for field in fields(settings.sandbox)}),
        ("files", {field.name for field in fields(settings.files)}),
    ):
        assert set(KINDS[section]) == names


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ('[engine]\n\nmodle = "x"', 3, ("engine.modle", "engine.model")),
        ('[engine]\ndevice = "tpu"', 2, ("engine.device", "tpu", "auto, cpu, cuda")),
        ("[enigne]\nthreads = 1", 1, ("enigne", "engine")),
        ("scheduler.policy = 3", 1, ("scheduler.policy", "fcfs")),
        ("# first\n[scheduler]\naging_seconds = -1\n", 3, ("scheduler.aging_seconds", "above 0")),
        ('[engine]\nhost_memory = "lots"', 2, ("engine.host_memory", "2GiB")),
        ("[tools]\nresult_size = 2_000_000", 2, ("tools.result_size", "whole number")),
        ("[engine]\nmax_batch = true", 2, ("engine.max_batch", "whole number")),
        ("[engine]\nthreads = = 3", 2, ("TOML",)),
        ("[memory]\nitems_per_owner = 0", 2, ("memory.items_per_owner", "from 1")),
        ('[memory]\nindex_memory = "much"', 2, ("memory.index_memory", "2GiB")),
        ('[wire]\nlisten = "tcp://x"', 2, ("wire.listen", "list")),
        ("engine = 3", 1, ("engine",)),
        ("[messages]\nmailbox_messages = 0", 2, ("messages.mailbox_messages", "from 1")),
        ('[messages]\nkeep_days = "long"', 2, ("messages.keep_days", "a number")),
        ("[messages]\ndead_bytes = -1", 2, ("messages.dead_bytes", "a size")),
        ("[files]\nversions = -1", 2, ("files.versions", "0 to 1000")),
        ('[files]\nquota = "much"', 2, ("files.quota", "2GiB")),
    ],
)
def test_an_error_names_file_line_and_what_is_allowed(
    tmp_path: Path, content: str, line: int, words: tuple[str, ...]
) -> None:
    file = tmp_path / "llmos.toml"
    file.write_text(content)
    with pytest.raises(InvalidArgument) as refused:
        load_settings(file)
    said = f"{refused.value.message} {refused.value.hint}"
    assert str(file) in said
    assert f":{line}" in said or f"line {line}" in said
    for word in words:
        assert word in said


@pytest.mark.parametrize("overlay", ["engine", "engine.threads", "threads=1", "engine.threads=", "a.b=1", "engine.b=1"])
def test_a_bad_overlay_is_named(overlay: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        load_settings(None, [overlay])
    assert f"--set {overlay}" in refused.value.message


def test_a_missing_settings_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        load_settings(tmp_path / "absent.toml")
