"""An engine that is killed costs time and nothing else: no token is wrong, missing or repeated."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

import llmos
from tests.e2e.conftest import EXACT
from tests.e2e.daemon_process import start_daemon
from tests.e2e.greedy_reference import Reference, ties
from tests.e2e.house import House, greedy, house

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def kill_engine(house: House) -> None:
    """Kill -9."""
    os_pid = house.engine.os_pid
    assert os_pid
    os.kill(os_pid, signal.SIGKILL)


def wait_for_loss(house: House, restarts: int) -> llmos.EngineInfo:
    """Ask until the daemon has noticed that so many engines were lost."""
    engine = house.engine
    while engine.restarts < restarts:
        engine = house.engine
    return engine


def test_open_streams_go_on_after_the_engine_was_killed(tight: House, reference: Reference) -> None:
    before = tight.engine
    streams = [(wanted, *tight.begin(wanted)) for wanted in reference.equal[:6]]
    stopped, idle = tight.context(reference.equal[6].prompt), tight.context(reference.equal[7].prompt)
    waiting = greedy(stopped, 16)
    first = next(waiting)
    stopped.stop()
    heads = [[token for chunk in (next(stream), next(stream)) for token in chunk.token_ids] for _, _, stream in streams]
    kill_engine(tight)
    found = 0
    for (wanted, process, stream), head in zip(streams, heads, strict=True):
        tokens = head + [token for chunk in stream for token in chunk.token_ids]
        assert tuple(tokens) == stream.result().token_ids
        assert len(tokens) == len(wanted.tokens)
        found += ties(wanted, tokens)
        assert process.read().token_ids == wanted.prompt + tuple(tokens)
    stopped.cont()
    assert first.token_ids + tuple(token for chunk in waiting for token in chunk.token_ids) == (
        waiting.result().token_ids
    )
    found += ties(reference.equal[6], waiting.result().token_ids)
    found += ties(reference.equal[7], greedy(idle, 8).result().token_ids)
    print(f"{found} ties")
    after = tight.engine
    assert after.restarts == before.restarts + 1
    assert after.os_pid != before.os_pid


def test_what_was_in_host_pages_is_not_computed_again(tight: House, reference: Reference) -> None:
    wanted = reference.equal[0]
    process, generation = tight.begin(wanted, 16)
    head = generation.result().token_ids
    process.swap_out()
    restarts = tight.engine.restarts
    kill_engine(tight)
    wait_for_loss(tight, restarts + 1)
    tail = greedy(process, len(wanted.tokens) - 16).result()
    ties(wanted, head + tail.token_ids)
    assert process.info().recomputed_tokens == 0
    assert tail.usage.cached_tokens > len(wanted.prompt)


def test_engines_that_die_in_a_row_back_off_and_info_says_why(tight: House, reference: Reference) -> None:
    waiting = tight.context(reference.varied[0].prompt[:64])
    seen = []
    for _ in range(3):
        # A token comes only from an engine that is up.
        greedy(waiting, 1).result()
        restarts = tight.engine.restarts
        kill_engine(tight)
        lost = wait_for_loss(tight, restarts + 1)
        seen.append(lost.detail)
        assert lost.state == "starting"
    assert "SIGKILL" in seen[-1] or "signal 9" in seen[-1], seen
    assert "in a row" in seen[-1], seen
    delays = [float(said.rsplit("starts in ", 1)[1].split()[0]) for said in seen]
    assert delays[2] > delays[1] > 0, seen
    greedy(waiting, 1).result()
    assert tight.engine.state == "ready"


def test_the_template_of_engines_is_replaced_when_it_was_killed(tight: House, reference: Reference) -> None:
    wanted = reference.varied[-1]
    process, generation = tight.begin(wanted)
    next(generation)
    restarts = tight.engine.restarts
    children = psutil.Process(tight.daemon.process.pid).children()
    (template,) = (child for child in children if "llmos.drivers.engine.template" in child.cmdline())
    template.kill()
    assert ties(wanted, generation.result().token_ids) <= 1
    assert tight.engine.restarts == restarts + 1
    assert len(process.read().token_ids) == len(wanted.prompt) + len(wanted.tokens)


def test_a_daemon_that_is_stopped_in_mid_generation_leaves_nothing(model: object, reference: Reference) -> None:
    daemon = start_daemon(*EXACT, "engine.device_pages=8", 'engine.host_memory="12 MiB"')
    try:
        with daemon.connect() as system:
            process = system.spawn()
            process.append(reference.equal[0].prompt)
            generation = greedy(process, 1000)
            next(generation)
            daemon.stop()
            assert generation.result().finish_reason is llmos.FinishReason.CANCELLED
    finally:
        daemon.destroy()


def test_a_daemon_whose_engine_has_just_been_killed_stops_in_good_order(model: object) -> None:
    daemon = start_daemon(*EXACT, "engine.device_pages=8", 'engine.host_memory="12 MiB"')
    try:
        with house(daemon) as lived:
            restarts = lived.engine.restarts
            kill_engine(lived)
            wait_for_loss(lived, restarts + 1)
        daemon.stop()
    finally:
        daemon.destroy()
