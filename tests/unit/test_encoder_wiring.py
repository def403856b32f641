"""The encoder of the settings: its name, and what is said when there is none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from llmos.drivers.models.store import ModelStore
from llmos.kernel.boot.encoders import open_encoder
from llmos.kernel.boot.home import Home, PidAllocator
from llmos.kernel.boot.service import Boot
from llmos.kernel.boot.settings import DEFAULT_ENCODER, Settings, load_settings
from llmos.kernel.loop.encoder import EncoderService
from llmos.kernel.ports.encoder import Embedding
from llmos.syscalls.abi.errors import Error, InvalidArgument, NotFound
from llmos.syscalls.abi.words import PriorityClass
from tests.models.small_directory import write_small_directory


def answer(reference: str, folder: Path) -> tuple[EncoderService, Embedding | Error]:
    """What a daemon with this encoder, and an empty store, answers to a text."""

    async def ask() -> tuple[EncoderService, Embedding | Error]:
        loop = asyncio.get_running_loop()
        service = open_encoder(boot(loop, reference, folder), ModelStore(folder / "store"))
        found: asyncio.Future[Embedding | Error] = loop.create_future()
        service.embed(["text"], "ann", PriorityClass.NORMAL, found.set_result)
        return service, await found

    return asyncio.run(ask())


def boot(loop: asyncio.AbstractEventLoop, reference: str, folder: Path) -> Boot:
    """A boot with these settings."""
    settings = Settings()
    home = Home(folder)
    return Boot(
        loop=loop,
        settings=replace(settings, engine=replace(settings.engine, encoder=reference)),
        home=home,
        pids=PidAllocator(home.pids),
        version="0",
        stop=lambda status: None,
        serving=lambda: None,
    )


@pytest.mark.parametrize(
    ("reference", "name", "message", "hint"),
    [
        ("", "none", "engine.encoder is empty", DEFAULT_ENCODER),
        (DEFAULT_ENCODER, DEFAULT_ENCODER, "has not been pulled", f"llmosctl model pull {DEFAULT_ENCODER}"),
        ("/no/such/model", "model", "no model at /no/such/model", "llmosctl model pull"),
    ],
)
def test_a_call_to_an_encoder_that_is_not_there_is_told_what_to_do(
    tmp_path: Path, reference: str, name: str, message: str, hint: str
) -> None:
    service, result = answer(reference, tmp_path)
    assert service.model == name
    assert isinstance(result, NotFound)
    assert message in result.message
    assert hint in result.hint


def test_a_local_directory_is_an_encoder_by_its_name(tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "mine")
    (directory / "config.json").unlink()
    service, result = answer(str(directory), tmp_path)
    assert service.model == "mine"
    assert isinstance(result, InvalidArgument)
    assert "config.json" in result.message


def test_the_settings_name_an_encoder_or_none() -> None:
    assert load_settings(None).engine.encoder == DEFAULT_ENCODER
    assert load_settings(None, ["engine.encoder="]).engine.encoder == ""
    assert load_settings(None, ["engine.encoder=./mine"]).engine.encoder == "./mine"
    with pytest.raises(InvalidArgument):
        load_settings(None, ["engine.encoder=7\0"])
