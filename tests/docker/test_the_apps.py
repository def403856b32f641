"""The apps that come with llmos, in containers, through a real daemon with the default model and encoder; and two
apps of different classes at once.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llmos
from llmos.drivers.models.store import ResolvedModel
from llmos.syscalls.sdk.blocking_apps import AppRun
from tests.docker.app_house import AppHouse, Ran, app_house, ended
from tests.docker.engine import TestEngine

APPS = Path(llmos.__file__).parent / "apps"
ROOM = ("engine.device_pages=128", 'engine.host_memory="128 MiB"')

FAQ = b"""# Returns
You can return any article within 30 days. Send it to our shop with the receipt.

# Opening hours
The shop is open from 9 to 18 on weekdays.
"""
FILMS = (
    "item,title,year,genres\n1,Alien,1979,Horror|Sci-Fi\n2,Solaris,1972,Drama|Sci-Fi\n3,Amelie,2001,Comedy|Romance\n"
    "4,Heat,1995,Crime|Thriller\n5,Blade Runner,1982,Sci-Fi|Thriller\n6,Notting Hill,1999,Comedy|Romance\n"
)

BUSY = """
import llmos

with llmos.connect() as system:
    writers = [system.spawn(priority="batch") for _ in range(6)]
    for number, writer in enumerate(writers):
        writer.append(f"A long story, part {number}: ")
    streams = [writer.generate(max_tokens=2000, ignore_eos=True) for writer in writers]
    print("busy", flush=True)
    for stream in streams:
        stream.result()
"""
URGENT = """
import time
import llmos

with llmos.connect() as system:
    print("up", flush=True)
    for line in iter(input, "end"):
        process = system.spawn(priority="interactive")
        process.append("The capital of France is")
        began = time.perf_counter()
        next(iter(process.generate(max_tokens=4, ignore_eos=True)))
        print(time.perf_counter() - began, flush=True)
        process.kill()
"""


def processes(condition: str) -> str:
    """A manifest that asks for processes of a class."""
    wanted = (("proc.*", condition), ("ctx.*", ""), ("gen.*", ""))
    return "".join(
        f'[[permissions]]\nobject = "proc:/$self/*"\naction = "{action}"\ncondition = "{bound}"\n'
        for action, bound in wanted
    )


@pytest.fixture(scope="module")
def house(engine: TestEngine, model: ResolvedModel) -> Iterator[AppHouse]:
    """A daemon with room for the apps."""
    with app_house(engine, "runc", *ROOM) as made:
        yield made


@pytest.fixture
def installed(house: AppHouse) -> Iterator[Callable[[str], str]]:
    """Installs one of the apps; what it needs must be there."""

    def install(name: str) -> str:
        house.installed.append(name)
        try:
            house.system.apps.install(APPS / name)
        except (llmos.NotFound, llmos.InvalidArgument) as error:
            if "cannot be had as wheels" in str(error) or "lacks" in str(error):
                pytest.skip(str(error))
            raise
        return name

    yield install
    house.tidy()


def put(house: AppHouse, path: str, data: bytes) -> None:
    """A file in the home of an app."""
    with house.system.files.open(path, "w") as file:
        file.write(data)


def talk(run: AppRun, *lines: str) -> Ran:
    """Say lines to a run, and hear all of it."""
    run.write("".join(f"{line}\n" for line in lines).encode())
    run.close_input()
    return ended(run)


def test_the_customer_service_answers_from_its_documents_and_hands_over_what_is_not_in_them(
    house: AppHouse, installed: Callable[[str], str]
) -> None:
    app = installed("customer_service")
    house.system.files.mkdir(f"/home/{app}/knowledge", parents=True)
    put(house, f"/home/{app}/knowledge/faq.md", FAQ)
    assert "2 passages" in house.run("load", app=app).out
    said = talk(house.start("chat", "--customer", "ann", app=app), "When is the shop open?", "Who was Napoleon?")
    assert said.info.status == 0
    assert "9 to 18" in said.out
    assert "faq.md" in said.out
    assert "ticket" in said.out


def test_the_recommender_recommends_and_a_rating_counts_at_once(
    house: AppHouse, installed: Callable[[str], str]
) -> None:
    app = installed("recommender")
    ratings = [f"{user},{item},{5 if (user + item) % 2 else 1},{user}" for user in range(8) for item in range(1, 7)]
    put(house, f"/home/{app}/films.csv", FILMS.encode())
    put(house, f"/home/{app}/ratings.csv", "\n".join(["user,item,stars,time", *ratings, ""]).encode())
    assert house.run("like", "anna", "horror in space", app=app).info.status == 0
    before = house.run("for", "anna", "--count", "3", app=app)
    assert before.info.status == 0
    assert before.out.count("(") >= 3
    assert house.run("rate", "anna", "Alien", "5", app=app).info.status == 0
    after = house.run("for", "anna", "--count", "6", app=app)
    assert "Alien" not in after.out


def test_the_assistant_answers_and_knows_its_session_again(house: AppHouse, installed: Callable[[str], str]) -> None:
    app = installed("assistant")
    first = talk(house.start("--session", "work", "--max-tokens", "24", app=app), "What is the capital of France?")
    assert first.info.status == 0
    assert "Paris" in first.out
    again = talk(house.start("--session", "work", "--max-tokens", "24", app=app), "/sessions")
    assert again.info.status == 0
    assert "work" in again.out + again.err


def test_an_urgent_app_hears_its_first_token_soon_beside_one_that_takes_everything(house: AppHouse) -> None:
    house.install("busy", BUSY, processes("class<=batch"))
    house.install("urgent", URGENT, processes("class<=interactive"))
    urgent = house.system.apps.run("urgent")
    with urgent.output() as output:
        assert next(output).data == b"up\n"

        def first_tokens() -> float:
            times = []
            for _ in range(5):
                urgent.write(b"again\n")
                times.append(float(next(output).data))
            return statistics.median(times)

        first_tokens()
        alone = first_tokens()
        busy = house.start("", app="busy")
        with busy.output() as told:
            assert next(told).data == b"busy\n"
            beside = first_tokens()
        working = [one for one in house.system.processes() if one.principal == "busy"]
        urgent.write(b"end\n")
        assert not list(output)
    assert len(working) == 6
    # A step of eight takes longer than one of one, and one step is waited for; without preemption it were all of them.
    assert beside < 6 * alone + 0.5
    house.system.apps.stop("busy", grace=0)
    for process in working:
        house.system.process(process.pid).kill()
