"""What the kernel may expect of an encoder, real or simulated; and how real ones die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from select import select

import pytest

from llmos.drivers.encoder.launcher import Launcher
from llmos.drivers.encoder.settings import DeviceKind, EncoderSettings
from llmos.drivers.simulator.encoder import SimulatedEncoderLauncher, simulated_encoder_ready
from llmos.kernel.ports.encoder import (
    FLOAT_BYTES,
    Encoded,
    EncodeOrder,
    EncoderLauncher,
    EncoderProcess,
    EncoderReady,
    EncoderReport,
)
from llmos.kernel.ports.engine import EngineGone, EngineRefused
from tests.encoder.conftest import SmallEncoder

Launch = Callable[[], EncoderLauncher]
PATIENCE = 120.0


@pytest.fixture(params=["real", "simulated"])
def launcher(request: pytest.FixtureRequest, small_encoder: SmallEncoder) -> EncoderLauncher:
    """Each kind of launcher."""
    if request.param == "simulated":
        return SimulatedEncoderLauncher(simulated_encoder_ready("small"))
    return real(small_encoder)


def real(small_encoder: SmallEncoder, kind: str = "bert") -> Launcher:
    """A launcher of real encoders of a small model."""
    return Launcher(EncoderSettings("small", str(small_encoder(kind)), "f" * 64, DeviceKind.CPU, threads=1))


def read(encoder: EncoderProcess) -> EncoderReport:
    """The next report."""
    while (report := encoder.receive()) is None:
        assert select([encoder.fileno()], [], [], PATIENCE)[0], "no report came"
    return report


def test_it_says_first_that_it_is_ready_and_then_answers_orders_in_order(launcher: EncoderLauncher) -> None:
    assert launcher.model == "small"
    encoder = launcher.launch()
    try:
        ready = read(encoder)
        assert isinstance(ready, EncoderReady)
        assert (ready.model, ready.dtype) == ("small", "float32")
        assert min(ready.dimensions, ready.max_tokens, ready.batch_tokens, encoder.os_pid) > 0
        for number in (1, 2, 3):
            encoder.submit(EncodeOrder(number, ("w1",) * number))
        for number in (1, 2, 3):
            encoded = read(encoder)
            assert isinstance(encoded, Encoded)
            assert encoded.number == number
            assert len(encoded.tokens) == number
            assert len(encoded.vectors) == number * ready.dimensions * FLOAT_BYTES
        assert encoder.receive() is None
    finally:
        encoder.kill()
        launcher.close()


def test_the_same_text_has_the_same_vector_in_two_encoders_and_long_ones_are_cut(launcher: EncoderLauncher) -> None:
    order = EncodeOrder(1, ("w1 w2", "w3 " * 600, "w1 w2"))
    results = []
    for _ in range(2):
        encoder = launcher.launch()
        try:
            ready = read(encoder)
            assert isinstance(ready, EncoderReady)
            encoder.submit(order)
            encoded = read(encoder)
            assert isinstance(encoded, Encoded)
            assert encoded.cut == (1,)
            assert max(encoded.tokens) == ready.max_tokens
            results.append(encoded.vectors)
        finally:
            encoder.kill()
    launcher.close()
    assert results[0] == results[1]


def test_one_that_was_killed_takes_nothing_and_can_be_killed_again(launcher: EncoderLauncher) -> None:
    encoder = launcher.launch()
    encoder.kill()
    encoder.kill()
    with pytest.raises(EngineGone):
        encoder.submit(EncodeOrder(1, ("w1",)))
    with pytest.raises(EngineGone):
        encoder.receive()
    launcher.close()


def test_one_that_is_killed_by_the_system_says_by_which_signal(small_encoder: SmallEncoder) -> None:
    encoder = real(small_encoder).launch()
    try:
        assert isinstance(read(encoder), EncoderReady)
        os.kill(encoder.os_pid, signal.SIGKILL)
        with pytest.raises(EngineGone, match="killed by signal 9"):
            read(encoder)
        with pytest.raises(EngineGone, match="killed by signal 9"):
            encoder.submit(EncodeOrder(1, ("w1",)))
    finally:
        encoder.kill()


def test_a_model_of_another_family_is_refused_for_good(small_encoder: SmallEncoder) -> None:
    encoder = real(small_encoder, "gpt2").launch()
    try:
        with pytest.raises(EngineRefused, match="gpt2 is none"):
            read(encoder)
    finally:
        encoder.kill()


def test_an_encoder_leaves_when_the_kernels_end_is_closed(small_encoder: SmallEncoder) -> None:
    encoder = real(small_encoder).launch()
    assert isinstance(read(encoder), EncoderReady)
    os_pid = encoder.os_pid
    encoder.kill()
    assert not os.path.exists(f"/proc/{os_pid}")
