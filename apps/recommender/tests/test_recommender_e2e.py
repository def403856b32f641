"""The recommender in a real daemon: as a program in a terminal, as tools for others, and after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import llmos
from llmos.apps.recommender.checking import faults
from llmos.apps.recommender.explaining import TRIES, Source, Wording, explain
from llmos.apps.recommender.features import Circle, Features, Neighbour
from llmos.apps.recommender.journal import PATH
from llmos.apps.recommender.meanings import PATH as MEANINGS
from llmos.apps.recommender.opinions import Opinions
from llmos.apps.recommender.ranking import Weights
from llmos.apps.recommender.ratings import UserId
from llmos.apps.recommender.recommender import Recommender, open_recommender
from llmos.apps.recommender.tests.conftest import Site
from llmos.apps.recommender.tests.small_catalogue import SPACE, film, small_catalogue

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PATIENCE = 60.0
FEATURES = Features(
    film("Alien", 1979, "Horror", "Sci-Fi"),
    (Neighbour(film("Aliens", 1986, "Action", "Sci-Fi"), 5.0, 83),),
    None,
    Circle(12, 9, 4.2),
)


@pytest.fixture
def system(site: Site) -> Iterator[llmos.System]:
    """The app's connection. No process of it is left."""
    with site.connect() as connected:
        yield connected
    with site.daemon.connect() as admin:
        assert admin.processes(all=True) == []


def titles(recommender: Recommender, user: str, count: int = 5) -> list[str]:
    """What is recommended to a user."""
    return [one.film.title for one in recommender.recommend(UserId(user), count)]


def start(site: Site, *arguments: str) -> subprocess.Popen[str]:
    """The app as a program of its own, as it would run in its container."""
    environment = os.environ | {"LLMOS_ENDPOINT": site.daemon.endpoint, "LLMOS_KEY": str(site.key())}
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "llmos.apps.recommender", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run(site: Site, *arguments: str, lines: str = "") -> tuple[int, str, str]:
    """Its exit status, and what it says on stdout and on stderr."""
    with start(site, *arguments) as program:
        out, errors = program.communicate(lines, PATIENCE)
        return program.returncode, out, errors


@contextmanager
def serving(site: Site) -> Iterator[None]:
    """The app serves its tools. In the end it is asked to stop, and must end cleanly."""
    with start(site, "serve") as program:
        assert program.stderr is not None
        assert "ready\n" in iter(program.stderr.readline, "")
        yield
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 0


def test_a_rating_changes_the_next_recommendation_and_survives_a_restart(system: llmos.System) -> None:
    recommender = open_recommender(system)
    popular = titles(recommender, "first", 20)
    for title in ("Alien", "Aliens"):
        recommender.rate(UserId("first"), title, 5.0)
    after = titles(recommender, "first", 18)
    assert set(after) == set(popular) - {"Alien", "Aliens"}
    assert set(after[:5]) <= set(SPACE)
    assert titles(open_recommender(system), "first", 2)[0] in SPACE
    assert [one.film for one in open_recommender(system).ratings(UserId("first"))] == ["s1", "s0"]


def test_what_another_program_keeps_counts_at_once(system: llmos.System) -> None:
    one, other = open_recommender(system), open_recommender(system)
    other.rate(UserId("second"), "Solaris", 4.5)
    assert "Solaris" not in titles(one, "second", 20)


def test_a_torn_line_of_a_crash_loses_nothing_that_was_acknowledged(system: llmos.System) -> None:
    recommender = open_recommender(system)
    recommender.rate(UserId("third"), "Moon", 5.0)
    with system.files.open(PATH, "a") as file:
        file.write(b'\n0123abcd {"type":"rating","us')
    recommender.rate(UserId("third"), "Gravity", 5.0)
    again = open_recommender(system)
    assert [one.film for one in again.ratings(UserId("third"))] == ["s4", "s3"]
    assert again.damaged == 1


def test_words_of_somebody_new_find_films(system: llmos.System) -> None:
    recommender = open_recommender(system, weights=Weights(popularity=0.0, words=1.0))
    recommender.like(UserId("new"), "science fiction thriller in outer space")
    assert set(titles(recommender, "new", 5)) <= set(SPACE)
    recommender.like(UserId("newer"), "a romantic comedy")
    assert not set(titles(recommender, "newer", 5)) & set(SPACE)
    kept = system.files.stat(MEANINGS).version
    titles(open_recommender(system), "new")
    assert system.files.stat(MEANINGS).version == kept, "vectors are made once"


@pytest.mark.parametrize("wording", Wording)
def test_an_explanation_says_nothing_but_its_features(system: llmos.System, wording: Wording) -> None:
    found = explain(system, FEATURES, wording)
    assert faults(found.text, FEATURES) == ()
    assert 1 <= found.tries <= TRIES


def test_a_bound_explanation_passes_at_the_first_try(system: llmos.System) -> None:
    found = explain(system, FEATURES)
    assert (found.source, found.tries, found.faults) == (Source.MODEL, 1, ())


def test_a_model_that_may_not_be_used_costs_no_explanation(site: Site) -> None:
    with site.daemon.connect() as admin:
        admin.drain(timeout=PATIENCE)
        try:
            with site.connect() as system:
                found = explain(system, FEATURES)
        finally:
            admin.drain(off=True)
    assert (found.source, found.tries) == (Source.PLAIN, 0)
    assert faults(found.text, FEATURES) == ()


def test_the_models_opinion_can_be_asked_for(system: llmos.System) -> None:
    films = small_catalogue().films
    opinions = Opinions(system)
    first, again = (opinions.of(films[:3], films[3:8]) for _ in range(2))
    assert first.shape == (5,)
    assert first == pytest.approx(again, abs=1e-3)
    recommender = open_recommender(system, weights=Weights(opinion=0.5))
    assert sorted(titles(recommender, "u1", 20)) == sorted(titles(open_recommender(system), "u1", 20))


def test_what_cannot_be_is_refused_and_nothing_is_kept(system: llmos.System) -> None:
    recommender = open_recommender(system)
    before = system.files.stat("ratings.csv").size
    with pytest.raises(llmos.NotFound):
        recommender.rate(UserId("fourth"), "No such film", 5.0)
    with pytest.raises(llmos.InvalidArgument):
        recommender.rate(UserId("fourth"), "Moon", 7.0)
    for count in (0, 101):
        with pytest.raises(llmos.InvalidArgument):
            recommender.recommend(UserId("fourth"), count)
    assert recommender.ratings(UserId("fourth")) == ()
    assert system.files.stat("ratings.csv").size == before


def test_tools_serve_each_caller_with_what_he_said_himself(site: Site) -> None:
    with serving(site), site.connect("anna") as anna, site.connect("bert") as bert:
        listed = {tool.name for tool in anna.tools.list() if tool.owner == "recommender"}
        assert listed == {"recommend", "rate", "like", "explain"}
        for title in ("Alien", "Aliens", "Moon"):
            rated = anna.tools.call("recommender/rate", {"item": title, "stars": 5})
            assert isinstance(rated, dict)
            assert str(rated["title"]).startswith(title)
        for caller, user, mine in ((anna, "", True), (anna, "friend", False), (bert, "", False)):
            found = recommended_to(caller, user)
            assert ("Alien" not in found) == mine
        why = anna.tools.call("recommender/explain", {"item": "Solaris"}, timeout=PATIENCE)
        assert isinstance(why, dict)
        assert "Solaris" in str(why["why"])
        assert anna.tools.call("recommender/like", {"words": " slow  films "}) == "slow films"
        with pytest.raises(llmos.DeviceError, match="no stars"):
            bert.tools.call("recommender/rate", {"item": "Moon", "stars": 9})
        with pytest.raises(llmos.InvalidArgument):
            bert.tools.call("recommender/rate", {"item": "Moon", "stars": 3, "caller": "anna"})
        with pytest.raises(llmos.DeviceError, match="cannot be a user"):
            bert.tools.call("recommender/rate", {"item": "Moon", "stars": 3, "user": "@default/anna/"})


def recommended_to(caller: llmos.System, user: str) -> set[str]:
    """All films that the tool recommends to a user of a caller."""
    found = caller.tools.call("recommender/recommend", {"count": 20, "user": user})
    assert isinstance(found, list)
    return {str(one["title"]) for one in found if isinstance(one, dict)}


def test_the_terminal_recommends_rates_and_explains(site: Site) -> None:
    assert run(site, "rate", "tina", "Notting Hill", "5")[:2] == (0, "Notting Hill (1940): 5\n")
    status, out, _ = run(site, "for", "tina", "--count", "2", "--why")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 4)
    assert lines[0].startswith("  1. ")
    assert "Notting Hill" in lines[1]


def test_a_conversation_goes_on_after_a_line_that_means_nothing(site: Site) -> None:
    lines = "rate Emma 4\nfind alien\n\nnonsense\nrate Emma x\nrecommend 1\nratings\nquit\nrate Gigi 1\n"
    status, out, errors = run(site, "talk", "tom", lines=lines)
    said = out.splitlines()
    assert status == 0
    assert said[:2] == ["Emma (1944): 4", "     s0  Alien (1979): Sci-Fi, Thriller"]
    assert said[-1] == "   4  Emma (1944)"
    assert "'nonsense' is no command" in errors
    assert "'x' are no stars" in errors


def test_the_terminal_tells_what_is_wrong_and_what_to_do(site: Site) -> None:
    status, out, errors = run(site, "rate", "tina", "No such film", "5")
    assert (status, out) == (1, "")
    assert "error: there is no film 'No such film' in the catalogue\nhint: " in errors


def test_without_a_catalogue_the_app_says_where_to_put_it(site: Site) -> None:
    with site.connect("anna") as anna, pytest.raises(llmos.NotFound) as error:
        open_recommender(anna)
    assert error.value.hint == "put it there: llmosctl fs put films.csv /home/anna/films.csv"


def test_what_was_acknowledged_survives_the_death_of_the_daemon(site: Site) -> None:
    with site.connect() as system:
        recommender = open_recommender(system)
        recommender.like(UserId("last"), "space")
        for number in range(8):
            recommender.rate(UserId("last"), f"s{number}", 5.0)
    site.crash()
    with site.connect() as system:
        again = open_recommender(system)
        assert [one.film for one in again.ratings(UserId("last"))] == [f"s{number}" for number in reversed(range(8))]
        assert set(titles(again, "last", 12)).isdisjoint(SPACE[:8])
