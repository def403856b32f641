"""The kernel's encoder with simulated ones: batches, deaths, refusals, models that are not there yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from llmos.drivers.simulator.encoder import (
    FINGERPRINT,
    MAX_TOKENS,
    SimulatedEncoder,
    SimulatedEncoderLauncher,
    simulated_encoder_ready,
    simulated_vector,
)
from llmos.kernel.core.encoding import MOST_DEATHS
from llmos.kernel.loop.encoder import STILLBORN, EncoderService
from llmos.kernel.ports.encoder import Embedding, EncoderLauncher
from llmos.kernel.ports.engine import EngineGone
from llmos.syscalls.abi.errors import DeviceError, Error, NotFound, TryAgain
from llmos.syscalls.abi.words import PriorityClass

Result = Embedding | Error


@dataclass
class House:
    """A service, its encoders, and whether the model is there."""

    loop: asyncio.AbstractEventLoop
    launcher: SimulatedEncoderLauncher = field(
        default_factory=lambda: SimulatedEncoderLauncher(simulated_encoder_ready("sim"))
    )
    missing: Error | None = None
    looked: int = 0

    def __post_init__(self) -> None:
        self.service = EncoderService(self.loop, "sim", self.find)

    def find(self) -> EncoderLauncher:
        self.looked += 1
        if self.missing is not None:
            raise self.missing
        return self.launcher

    def ask(
        self, texts: Sequence[str], principal: str = "ann", priority: PriorityClass = PriorityClass.NORMAL
    ) -> asyncio.Future[Result]:
        """Have texts encoded; the future of what comes of it. A second answer would raise."""
        answer: asyncio.Future[Result] = self.loop.create_future()
        self.service.embed(texts, principal, priority, answer.set_result)
        return answer

    async def encoder(self, number: int = 0) -> SimulatedEncoder:
        """The encoder that was started as this one, when it is."""
        while len(self.launcher.started) <= number:
            await asyncio.sleep(0)
        return self.launcher.started[number]

    async def ordered(self, number: int = 0, orders: int = 1) -> SimulatedEncoder:
        """That encoder, when it has got so many orders."""
        encoder = await self.encoder(number)
        while len(encoder.orders) < orders:
            await asyncio.sleep(0)
        return encoder


def living(test: Callable[[House], Awaitable[None]]) -> None:
    """Run a test in a house of its own."""

    async def live() -> None:
        house = House(asyncio.get_running_loop())
        try:
            await asyncio.wait_for(test(house), 60)
        finally:
            house.service.close()

    asyncio.run(live())


def vectors_of(result: Result) -> list[bytes]:
    """The vectors, one by one."""
    assert isinstance(result, Embedding), result
    return [result.vector(index) for index in range(len(result.tokens))]


def test_every_text_gets_its_vector_in_order_however_they_were_batched() -> None:
    async def test(house: House) -> None:
        texts = [f"text number {number} " * (number % 7) for number in range(200)]
        asked = [house.ask(texts[:150], "ann"), house.ask(texts[150:], "bob"), house.ask(["one"], "cid")]
        first, second, third = await asyncio.gather(*asked)
        assert vectors_of(first) + vectors_of(second) == [simulated_vector(text) for text in texts]
        assert vectors_of(third) == [simulated_vector("one")]
        assert isinstance(first, Embedding)
        assert (first.model, first.fingerprint) == ("sim", FINGERPRINT)

    living(test)


def test_texts_that_were_cut_are_named_by_their_place_in_the_call() -> None:
    async def test(house: House) -> None:
        long = "word " * (MAX_TOKENS + 1)
        result = await house.ask(["short", long, *["short"] * 30, long])
        assert isinstance(result, Embedding)
        assert result.cut == (1, 32)

    living(test)


def test_a_death_in_mid_batch_loses_nothing_and_answers_once() -> None:
    async def test(house: House) -> None:
        house.launcher.holding = True
        asked = [house.ask([f"a {number}" for number in range(60)], "ann"), house.ask(["b"], "bob")]
        for number in range(2):
            (await house.ordered(number)).die()
        house.launcher.holding = False
        first, second = await asyncio.gather(*asked)
        assert vectors_of(first) == [simulated_vector(f"a {number}") for number in range(60)]
        assert vectors_of(second) == [simulated_vector("b")]
        assert house.service.info.restarts == 2

    living(test)


def test_a_text_with_which_every_encoder_dies_fails_alone() -> None:
    async def test(house: House) -> None:
        house.launcher.holding = True
        bad, good = house.ask(["bad"], "ann"), house.ask(["good"], "bob")
        number, orders = 0, 1
        for _ in range(MOST_DEATHS + 1):
            encoder = await house.ordered(number, orders)
            if "bad" in encoder.orders[-1].texts:
                encoder.die()
                number, orders = number + 1, 1
            else:
                encoder.release()
                encoder.hold()
                orders += 1
        result = await bad
        assert isinstance(result, DeviceError)
        assert "die with these texts" in result.message
        assert vectors_of(await good) == [simulated_vector("good")]

    living(test)


def test_a_single_query_is_in_the_next_batch_behind_a_giant_job() -> None:
    async def test(house: House) -> None:
        house.launcher.holding = True
        giant = house.ask([f"a long text {number}" for number in range(1000)], "ann")
        encoder = await house.ordered()
        query = house.ask(["quick"], "bob")
        encoder.release()
        assert vectors_of(await query) == [simulated_vector("quick")]
        assert encoder.orders[1].texts == ("quick",)
        assert len(vectors_of(await giant)) == 1000

    living(test)


def test_calls_of_one_turn_of_the_loop_are_one_batch() -> None:
    async def test(house: House) -> None:
        await house.ask(["first"])
        await asyncio.gather(*(house.ask([f"{number}"], f"p{number}") for number in range(8)))
        encoder = await house.encoder()
        assert [len(order.texts) for order in encoder.orders] == [1, 8]

    living(test)


def test_what_is_taken_back_is_not_encoded_and_not_answered() -> None:
    async def test(house: House) -> None:
        house.launcher.holding = True
        under_way = house.ask(["under way"])
        encoder = await house.ordered()
        answers: list[Result] = []
        take_back = house.service.embed(["gone"], "ann", PriorityClass.NORMAL, answers.append)
        take_back()
        take_back()
        encoder.release()
        await under_way
        await house.ask(["after"])
        assert [order.texts for order in encoder.orders] == [("under way",), ("after",)]
        assert not answers

    living(test)


def test_a_model_that_is_not_there_is_said_and_looked_for_again_at_the_next_call() -> None:
    async def test(house: House) -> None:
        house.missing = NotFound("the model sim has not been pulled", "llmosctl model pull sim")
        house.service.start()
        first, second = await asyncio.gather(house.ask(["a"]), house.ask(["b"]))
        assert first is second is house.missing
        assert (house.service.info.state, house.service.info.detail) == ("missing", house.missing.message)
        house.missing = None
        assert vectors_of(await house.ask(["a"])) == [simulated_vector("a")]
        assert house.service.info.state == "ready"

    living(test)


def test_an_encoder_that_refuses_its_model_is_not_started_again_and_every_call_is_told_why() -> None:
    async def test(house: House) -> None:
        house.launcher.holding = True
        asked = house.ask(["a"])
        (await house.ordered()).refuse()
        for answer in (asked, house.ask(["b"])):
            result = await answer
            assert isinstance(result, DeviceError)
            assert "refuses its model" in result.message
        assert len(house.launcher.started) == 1
        assert house.service.info.state == "refused"

    living(test)


class DeadLauncher(SimulatedEncoderLauncher):
    """Starts nothing."""

    def launch(self) -> SimulatedEncoder:
        raise EngineGone("no interpreter")


def test_who_waits_for_an_encoder_that_never_comes_up_is_told() -> None:
    async def test(house: House) -> None:
        house.launcher = DeadLauncher(simulated_encoder_ready("sim"))
        result = await house.ask(["a"])
        assert isinstance(result, DeviceError)
        assert result.message.startswith("no encoder comes up: no interpreter")
        assert house.service.info.restarts == STILLBORN

    living(test)


def test_too_much_of_one_principal_is_refused_and_no_matter_to_others() -> None:
    async def test(house: House) -> None:
        house.launcher.holding = True
        for _ in range(16):
            house.ask(["x"] * 1024, "ann")
        with pytest.raises(TryAgain):
            house.ask(["one more"], "ann")
        query = house.ask(["mine"], "bob", PriorityClass.INTERACTIVE)
        (await house.ordered()).release()
        assert vectors_of(await query) == [simulated_vector("mine")]

    living(test)


def test_its_counters_count_what_was_done() -> None:
    async def test(house: House) -> None:
        await house.ask(["one two three", "four"])
        counted = {metric.name: metric.value for metric in house.service.metrics}
        assert counted["encoder_texts_total"] == 2
        assert counted["encoder_tokens_total"] == 4
        assert counted["encoder_batches_total"] == 1
        assert counted["encoder_texts_waiting"] == 0

    living(test)
