"""A daemon is idle when what encoders do for callers is over too, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from llmos.drivers.simulator.encoder import SimulatedEncoder, SimulatedEncoderLauncher, simulated_encoder_ready
from llmos.kernel.core import events as ev
from llmos.kernel.core.engine import CoreSettings
from llmos.kernel.core.kernel import Kernel
from llmos.kernel.core.policy import POLICIES
from llmos.kernel.gate.calls.embeddings import EmbeddingCalls
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.loop.encoder import EncoderService
from llmos.kernel.loop.shell import Shell
from llmos.syscalls.abi import encoders as e
from llmos.syscalls.abi.errors import DeviceError, TryAgain
from llmos.syscalls.abi.words import Record
from tests.unit.outlet import Outlet
from tests.unit.test_membrane import ROOT, membrane

PATIENCE = 30


@dataclass
class House:
    """A kernel without engines, its encoder, and whether it was found idle."""

    idle: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.launcher = SimulatedEncoderLauncher(simulated_encoder_ready("sim"))
        self.encoder = EncoderService(loop, "sim", lambda: self.launcher)
        self.shell = Shell(loop, Kernel((), CoreSettings(POLICIES["fair"], 1.0, b"secret")), {})
        self.calls = EmbeddingCalls(self.shell, self.encoder)

    async def held(self, request: e.Embed | e.Classify) -> tuple[Outlet, Channel, SimulatedEncoder]:
        """A call whose order an encoder has got and does not answer."""
        self.encoder.start()
        while not self.launcher.started:
            await asyncio.sleep(0)
        (encoder,) = self.launcher.started
        encoder.hold()
        outlet = Outlet()
        channel = Channel(outlet)
        self.call(request, channel)
        while not encoder.held:
            await asyncio.sleep(0)
        return outlet, channel, encoder

    def call(self, request: e.Embed | e.Classify, channel: Channel) -> None:
        name = "gen.embed" if isinstance(request, e.Embed) else "gen.classify"
        by = membrane().authorize(ROOT, "model:/sim", name)
        self.calls.handlers()[name](by, request, channel)

    async def until_idle(self) -> None:
        while not self.idle:
            await asyncio.sleep(0)

    async def turns(self) -> None:
        """Some turns of the loop, in which whatever is ready happens."""
        for _ in range(20):
            await asyncio.sleep(0)


def live(test: Callable[[House], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        house = House()
        try:
            await asyncio.wait_for(test(house), PATIENCE)
        finally:
            house.encoder.close()
            house.shell.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "request_", [e.Embed(("w1", "w2")), e.Classify(("w1",), ("w2", "w3"))], ids=["embed", "classify"]
)
def test_a_daemon_with_texts_at_the_encoder_is_idle_when_their_caller_has_its_answer(request_: e.Embed) -> None:
    async def test(house: House) -> None:
        outlet, _, encoder = await house.held(request_)
        house.shell.when_idle(lambda: house.idle.append(None))
        await house.turns()
        assert not house.idle
        encoder.release()
        await house.until_idle()
        assert isinstance(outlet.answer.result(), Record)

    live(test)


@pytest.mark.parametrize("ending", Ending)
def test_a_call_that_ends_early_keeps_no_daemon_busy(ending: Ending) -> None:
    async def test(house: House) -> None:
        _, channel, encoder = await house.held(e.Embed(("w1",)))
        house.shell.when_idle(lambda: house.idle.append(None))
        await house.turns()
        assert not house.idle
        channel.end(ending)
        await house.until_idle()
        encoder.release()
        await house.turns()

    live(test)


def test_texts_that_no_encoder_survives_keep_no_daemon_busy() -> None:
    async def test(house: House) -> None:
        outlet, _, encoder = await house.held(e.Embed(("w1",)))
        house.shell.when_idle(lambda: house.idle.append(None))
        encoder.refuse()
        await house.until_idle()
        assert isinstance(outlet.answer.result(), DeviceError)

    live(test)


def test_a_draining_daemon_encodes_nothing_new_and_finishes_what_it_has() -> None:
    async def test(house: House) -> None:
        outlet, _, encoder = await house.held(e.Embed(("w1",)))
        drain = membrane().authorize(ROOT, "sys:/", "sys.drain")
        house.shell.perform(drain, ev.SetDraining(True))
        with pytest.raises(TryAgain, match="draining"):
            house.call(e.Embed(("w2",)), Channel(Outlet()))
        house.shell.when_idle(lambda: house.idle.append(None))
        encoder.release()
        await house.until_idle()
        assert isinstance(outlet.answer.result(), e.Embedded)

    live(test)
