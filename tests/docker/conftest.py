"""Daemons whose apps run in containers: one for each runtime of the engine, begun when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from llmos.drivers.models.store import ResolvedModel
from tests.docker.app_house import AppHouse, app_house
from tests.docker.engine import MissingEngineError, TestEngine, find_engine
from tests.e2e.conftest import model

__all__ = ["model"]

RUNTIMES = ("runc", "runsc")


@pytest.fixture(scope="session")
def engine() -> Iterator[TestEngine]:
    """The engine; without one these tests are skipped."""
    try:
        found = find_engine()
    except MissingEngineError as missing:
        pytest.skip(str(missing))
    yield found
    found.client.close()


@pytest.fixture(scope="session")
def house_on(engine: TestEngine, model: ResolvedModel) -> Iterator[Callable[[str], AppHouse]]:
    """The house of a runtime."""
    houses: dict[str, AppHouse] = {}
    with ExitStack() as stack:

        def on(runtime: str) -> AppHouse:
            if runtime not in engine.runtimes:
                pytest.skip(f"the engine has no runtime {runtime}; it has {', '.join(sorted(engine.runtimes))}")
            if runtime not in houses:
                houses[runtime] = stack.enter_context(app_house(engine, runtime))
            return houses[runtime]

        yield on


@pytest.fixture(params=RUNTIMES)
def boxes(request: pytest.FixtureRequest, house_on: Callable[[str], AppHouse]) -> Iterator[AppHouse]:
    """A house of each runtime in turn; nothing runs in it when the test begins."""
    yield from _lived_in(house_on(request.param))


@pytest.fixture
def runc(house_on: Callable[[str], AppHouse]) -> Iterator[AppHouse]:
    """A house of plain containers, for what does not depend on the runtime."""
    yield from _lived_in(house_on("runc"))


def _lived_in(house: AppHouse) -> Iterator[AppHouse]:
    try:
        yield house
    finally:
        house.tidy()
