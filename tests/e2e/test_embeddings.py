"""Embed and classify through a real daemon with the default encoder: results, company, deaths, wrong input."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence

import pytest

import llmos
from llmos.drivers.models.catalogue import DEFAULT_ENCODER
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.progress import SilentReporter
from llmos.drivers.models.pull import pull
from llmos.drivers.models.store import ModelStore
from llmos.syscalls.abi.errors import DeviceError
from tests.e2e.daemon_process import USER, start_daemon
from tests.e2e.house import House
from tests.e2e.raw_client import raw_client, unpacked

pytestmark = pytest.mark.e2e

CAT, KITTEN, BOND = "A cat sleeps on the sofa.", "The kitten naps on a couch.", "Interest rates on bonds rose."


@pytest.fixture(scope="module", autouse=True)
def encoder() -> None:
    """The default encoder is in the store before a daemon looks for it."""
    try:
        pull(ModelStore(models_directory(None, os.environ)), DEFAULT_ENCODER, SilentReporter())
    except DeviceError as error:
        pytest.skip(f"{DEFAULT_ENCODER} cannot be had here: {error}")


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def state(system: llmos.System) -> llmos.EncoderInfo:
    """The daemon's encoder."""
    (encoder,) = system.info().encoders
    return encoder


def test_vectors_have_length_one_and_near_meanings_are_near(roomy: House) -> None:
    vectors = roomy.system.embed([CAT, KITTEN, BOND])
    cat, kitten, bond = vectors
    assert (vectors.model, vectors.dimensions, len(cat)) == (DEFAULT_ENCODER, 384, 384)
    assert abs(cosine(cat, cat) - 1) < 1e-5
    assert cosine(cat, kitten) > 0.5 > cosine(cat, bond)


def test_texts_in_any_company_have_the_same_vectors_in_the_order_of_the_call(roomy: House) -> None:
    texts = [f"{CAT} {'again ' * (number % 40)}" for number in range(100)]
    together = roomy.system.embed(texts)
    for number in (0, 39, 63, 99):
        assert cosine(roomy.system.embed([texts[number]])[0], together[number]) > 1 - 1e-6


def test_a_text_that_is_too_long_is_embedded_by_its_beginning_and_named(roomy: House) -> None:
    beginning = "word " * 300
    vectors = roomy.system.embed(["short", beginning + "one end", beginning + "another"])
    assert vectors.truncated == (1, 2)
    assert vectors[1] == pytest.approx(vectors[2], abs=1e-5)


def test_classify_names_the_label_that_fits_and_its_scores_sum_to_one(roomy: House) -> None:
    found = roomy.system.classify([CAT, BOND], labels=["finance", "animals", "sport"])
    assert [one.label for one in found] == ["animals", "finance"]
    for one in found:
        assert len(one.scores) == 3
        assert sum(one.scores) == pytest.approx(1)


def test_the_asynchronous_client_does_the_same(roomy: House) -> None:
    async def ask() -> tuple[llmos.Vectors, llmos.Classifications]:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            return await system.embed([CAT]), await system.classify([CAT], ["finance", "animals"], template="{}")

    vectors, found = asyncio.run(ask())
    assert vectors[0] == pytest.approx(roomy.system.embed([CAT])[0], abs=1e-5)
    assert found[0].label == "animals"


def test_an_encoder_that_is_killed_in_mid_batch_costs_nobody_a_text(roomy: House) -> None:
    texts = [f"sentence number {number} about {'various ' * (number % 9)}things" for number in range(600)]
    before = roomy.system.embed(texts)
    restarts = state(roomy.system).restarts

    async def ask() -> list[llmos.Vectors]:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            asked = [asyncio.create_task(system.embed(texts)) for _ in range(2)]
            while True:
                (encoder,) = (await system.info()).encoders
                if encoder.waiting_texts and encoder.os_pid:
                    break
            os.kill(encoder.os_pid, signal.SIGKILL)
            return list(await asyncio.gather(*asked))

    for after in asyncio.run(ask()):
        assert len(after) == len(before)
        assert min(cosine(one, other) for one, other in zip(before, after, strict=True)) > 1 - 1e-6
    told = state(roomy.system)
    assert restarts is not None
    assert (told.restarts, told.state) == (restarts + 1, "ready")


def test_a_giant_job_of_one_caller_does_not_delay_anothers_query_and_vanishes_with_its_caller(roomy: House) -> None:
    giant = [f"{CAT} number {number}" for number in range(1024)]

    async def live() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key(USER)) as bob:
                jobs = [asyncio.create_task(bob.embed(giant)) for _ in range(8)]
                while not (await system.info()).encoders[0].waiting_texts:
                    pass
                await system.embed([CAT])
                assert not any(job.done() for job in jobs[1:])
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
            while (await system.info()).encoders[0].waiting_texts:
                pass
            assert len(await system.embed([CAT])) == 1

    asyncio.run(live())


def test_a_daemon_is_drained_when_texts_that_were_under_way_are_answered(roomy: House) -> None:
    giant = [f"{CAT} number {number}" for number in range(1024)]

    async def live() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            jobs = [asyncio.create_task(system.embed(giant)) for _ in range(3)]
            while not (await system.info()).encoders[0].waiting_texts:
                pass
            with pytest.raises(llmos.TimedOut):
                await system.drain(timeout=0.01)
            with pytest.raises(llmos.TryAgain, match="draining"):
                await system.embed([CAT])
            await system.drain(timeout=120)
            assert [len(await job) for job in jobs] == [1024] * 3
            assert not (await system.info()).encoders[0].waiting_texts

    try:
        asyncio.run(live())
    finally:
        roomy.system.drain(off=True)


@pytest.mark.parametrize(
    "texts",
    [[], ["x"] * 1025, ["x" * ((1 << 15) + 1)], "one text", [7], [None]],
    ids=["none", "too many", "too long", "a string", "a number", "nothing"],
)
def test_texts_that_cannot_be_are_refused(roomy: House, texts: list[str]) -> None:
    with pytest.raises(llmos.InvalidArgument):
        roomy.system.embed(texts)
    with pytest.raises(llmos.InvalidArgument):
        roomy.system.classify(texts, ["a", "b"])


@pytest.mark.parametrize(
    ("labels", "template"),
    [
        (["one"], None),
        ([str(number) for number in range(65)], None),
        (["same", "same"], None),
        (["a", ""], None),
        (["a", "b" * 257], None),
        (["a", "b"], "no place"),
        (["a", "b"], "{} and {}"),
        (["a", "b"], "{}" * 200),
    ],
)
def test_labels_and_templates_that_cannot_be_are_refused(roomy: House, labels: list[str], template: str | None) -> None:
    with pytest.raises(llmos.InvalidArgument):
        roomy.system.classify([CAT], labels, template=template)


def test_another_model_than_the_daemons_is_not_found_and_no_name_at_all_is_refused(roomy: House) -> None:
    assert roomy.system.embed([CAT], model=DEFAULT_ENCODER).model == DEFAULT_ENCODER
    with pytest.raises(llmos.NotFound) as caught:
        roomy.system.embed([CAT], model="smollm2:135m")
    assert caught.value.hint == f"name {DEFAULT_ENCODER}, or none"
    for name in ("*", "model:/*", "a/b", "../x", " "):
        with pytest.raises(llmos.InvalidArgument):
            roomy.system.embed([CAT], model=name)


def test_a_class_above_ones_own_is_denied_and_so_is_a_class_that_does_not_exist(roomy: House) -> None:
    with roomy.daemon.connect(USER) as bob:
        assert len(bob.embed([CAT], priority="interactive")) == 1
        for call in (
            lambda: bob.embed([CAT], priority="realtime"),
            lambda: bob.classify([CAT], ["a", "b"], priority="realtime"),
        ):
            with pytest.raises(llmos.PermissionDenied):
                call()
        with pytest.raises(llmos.InvalidArgument):
            bob.embed([CAT], priority="urgent")
        assert bob.can(f"model:/{DEFAULT_ENCODER}", "gen.embed").allowed
        told = state(bob)
    assert (told.restarts, told.waiting_texts, told.os_pid, told.state) == (None, None, None, "ready")


def test_a_call_that_takes_longer_than_its_time_out_is_given_up(roomy: House) -> None:
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key()) as client:
        assert client.error("gen.embed", {"texts": [CAT] * 1024}, timeout=0.01) == "ETIMEDOUT"


def test_a_client_without_the_sdk_reads_the_vectors(roomy: House) -> None:
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key()) as client:
        embedded = unpacked(client.call("gen.embed", {"texts": [CAT, KITTEN]}), "ok")
    vectors = embedded["vectors"]
    assert isinstance(vectors, bytes)
    assert struct.unpack("<768f", vectors)[384:] == pytest.approx(roomy.system.embed([KITTEN])[0], abs=1e-5)


def test_llmosctl_embeds_and_classifies(roomy: House) -> None:
    def control(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llmos.apps.llmosctl", *arguments, "--home", str(roomy.daemon.home)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    embedded = json.loads(control("embed", CAT, BOND, "--json").stdout)
    assert [len(vector) for vector in embedded["vectors"]] == [384, 384]
    assert control("embed", "word " * 300).stderr.startswith("too long for the model")
    assert control("classify", CAT, "--labels", "finance, animals").stdout.startswith("animals  (animals ")
    assert (
        json.loads(control("classify", BOND, "--labels", "finance,animals", "--json").stdout)[0]["label"] == "finance"
    )
    refused = control("classify", CAT, "--labels", "finance")
    assert (refused.returncode, refused.stdout) == (1, "")


def test_metrics_count_what_the_encoder_did(roomy: House) -> None:
    def count() -> float:
        return next(each.value for each in roomy.system.metrics() if each.name == "encoder_texts_total")

    before = count()
    roomy.system.embed([CAT] * 5)
    assert count() == before + 5


def test_a_daemon_without_its_encoder_starts_and_says_how_to_get_one(model: object) -> None:
    daemon = start_daemon("engine.device=cpu", "engine.device_pages=16", "engine.encoder=/no/such/encoder")
    try:
        with daemon.connect() as system:
            with pytest.raises(llmos.NotFound, match="no model at /no/such/encoder") as caught:
                system.embed([CAT])
            assert "llmosctl model pull" in caught.value.hint
            with pytest.raises(llmos.NotFound):
                system.classify([CAT], ["a", "b"])
            assert state(system).state == "missing"
            assert system.info().engines[0].state == "ready"
        daemon.stop()
    finally:
        daemon.destroy()
